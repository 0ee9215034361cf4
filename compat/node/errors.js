'use strict'
// What a user reads when something is wrong. The runner compares it with what the same client says on Apache Kafka.
const { control, freshName, newTopic, waitFor } = require('./harness.js')

module.exports = client => {
  const { admin } = client

  /** {case: what the client says}. */
  async function said (cases) {
    const found = {}
    for (const [name, call] of Object.entries(cases)) found[name] = await call().then(() => 'no error', client.says)
    return found
  }

  return {
    'errors.names': () => said({
      'a space': () => admin.create('a name'),
      'one dot': () => admin.create('.'),
      empty: () => admin.create(''),
      '250 letters': () => admin.create('n'.repeat(250)),
      'not ASCII': () => admin.create('größe')
    }),
    'errors.topics': async () => {
      const topic = await newTopic(2)
      return said({
        'create: taken': () => admin.create(topic),
        'create: no partitions': () => admin.create(freshName(), { partitions: 0 }),
        'delete: unknown': () => admin.remove('nowhere'),
        'grow: unknown': () => admin.grow('nowhere', 3),
        'grow: fewer': () => admin.grow(topic, 1),
        'grow: the same': () => admin.grow(topic, 2),
        'configs: unknown': () => admin.configs('nowhere'),
        'delete group: unknown': () => admin.deleteGroup('nobody')
      })
    },
    'errors.configs': async () => {
      const topic = await newTopic()
      return said({
        'create: unknown': () => admin.create(freshName(), { configs: { 'no.such': '1' } }),
        'create: not a number': () => admin.create(freshName(), { configs: { 'retention.ms': 'long' } }),
        'create: too small': () => admin.create(freshName(), { configs: { 'retention.ms': '-2' } }),
        'create: not one of a list': () => admin.create(freshName(), { configs: { 'cleanup.policy': 'keep' } }),
        'alter: unknown': () => admin.alter(topic, { 'no.such': '1' }),
        'alter: not a number': () => admin.alter(topic, { 'max.message.bytes': 'many' }),
        'alter: unknown topic': () => admin.alter('nowhere', { 'retention.ms': '1000' })
      })
    },
    'errors.port': () => said({ 'nobody listens': () => client.elsewhere(['127.0.0.1:1']) }),
    'errors.advertised': async () => {
      const topic = await newTopic()
      await control('settings', 'advertised.listeners=PLAINTEXT://127.0.0.1:1')
      try {
        const producer = await client.producer({ impatient: true })
        await producer.send(topic, { partition: 0, value: Buffer.from('nowhere') })
        const errors = await producer.flush()
        await producer.close().catch(() => {})
        if (!errors.length) throw new Error('the record arrived')
        return { produce: errors[0] }
      } catch (e) {
        return { produce: client.says(e) }
      } finally {
        await control('settings')
        await waitFor('the broker', () => client.metadata().then(() => true, () => false))
      }
    }
  }
}
