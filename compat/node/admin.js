'use strict'
// Scenarios of administration.
const { BOOTSTRAP, NotAvailable, expect, freshName, newTopic, waitFor } = require('./harness.js')
const { Shared, text } = require('./basic.js')

module.exports = client => {
  const s = new Shared(client)
  const { admin } = client
  function need (...verbs) {
    for (const verb of verbs) if (!admin[verb]) throw new NotAvailable(`this client has no ${verb}`)
  }

  return {
    'admin.topics': async () => {
      need('create', 'remove', 'topics')
      const topic = freshName()
      await admin.create(topic, { partitions: 3, configs: { 'retention.ms': '3600000' } })
      await waitFor('the topic', async () => (await admin.topics()).includes(topic))
      expect('partitions', (await client.metadata(topic)).leaders[topic].length, 3)
      await s.produce(topic, ['one'], {}, 2)
      await admin.remove(topic)
      await waitFor('its end', async () => !(await admin.topics()).includes(topic))
    },
    'admin.configs': async () => {
      need('configs', 'alter')
      const topic = freshName()
      await admin.create(topic, { configs: { 'retention.ms': '3600000' } })
      const value = async name => (await admin.configs(topic))[name]
      await waitFor('the topic', () => value('retention.ms').catch(() => false))
      expect('as created', await value('retention.ms'), '3600000')
      expect('a default', await value('cleanup.policy'), 'delete')
      await admin.alter(topic, { 'retention.ms': '7200000', 'max.message.bytes': '2000000' })
      await waitFor('the change', async () => await value('retention.ms') === '7200000')
      expect('the other', await value('max.message.bytes'), '2000000')
    },
    'admin.partitions': async () => {
      need('grow')
      const topic = await newTopic(2)
      await s.produce(topic, ['one'], {}, 1)
      await admin.grow(topic, 5)
      await waitFor('five partitions', async () => (await client.metadata(topic)).leaders[topic].filter(l => l >= 0).length === 5)
      await s.produce(topic, ['two'], {}, 4)
      expect('values', (await s.read(topic, 5)).map(r => text(r.value)).sort(), ['one', 'two'])
    },
    'admin.delete-records': async () => {
      need('deleteRecords')
      const topic = await newTopic()
      await s.produce(topic, Array.from({ length: 10 }, (_, i) => String(i)))
      await admin.deleteRecords(topic, { 0: 6 })
      expect('start', await client.starts(topic, 1), [6])
      expect('values', await s.values(topic), ['6', '7', '8', '9'])
    },
    'admin.groups': async () => {
      need('groups', 'describeGroup', 'deleteGroup')
      const [topic, group] = [await newTopic(), freshName('group')]
      await s.produce(topic, ['one'])
      const member = await client.member(group, topic, {})
      await waitFor('the record', () => member.records.length)
      expect('listed', (await admin.groups()).includes(group), true)
      await waitFor('the commit', async () => (await client.committed(group, topic, 0)).offset === 1)
      const described = await admin.describeGroup(group)
      expect('state', described.state.toUpperCase(), 'STABLE')
      expect('members', described.members, 1)
      await member.close()
      await waitFor('an empty group', async () => (await admin.describeGroup(group)).state.toUpperCase() === 'EMPTY')
      await admin.deleteGroup(group)
      await waitFor('its end', async () => !(await admin.groups()).includes(group))
    },
    'admin.offsets': async () => {
      const topic = await newTopic(2)
      await s.produce(topic, ['0', '1', '2'])
      expect('starts', await client.starts(topic, 2), [0, 0])
      expect('ends', await client.ends(topic, 2), [3, 0])
    },
    'admin.cluster': async () => {
      need('cluster')
      const found = await admin.cluster()
      expect('brokers', found.brokers, [BOOTSTRAP])
      expect('an id', typeof found.id === 'string' && found.id.length > 10, true)
      expect('the controller is a broker', found.controller === undefined || found.ids.includes(found.controller), true)
    }
  }
}
