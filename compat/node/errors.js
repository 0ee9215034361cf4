'use strict'
// What a user reads when something is wrong. The runner compares it with what the same client says on Apache Kafka.
const { control, freshName, newTopic, waitFor } = require('./harness.js')

module.exports = client => {
  const { admin } = client

  /** {case: what the client says}; of what it has no call for, nothing. */
  async function said (cases) {
    const found = {}
    for (const [name, call] of Object.entries(cases)) {
      if (Array.isArray(call) && !admin[call[0]]) continue
      const asked = Array.isArray(call) ? admin[call[0]](...call.slice(1)) : call()
      found[name] = await asked.then(() => 'no error', client.says)
    }
    return found
  }

  return {
    'errors.names': () => said({
      'a space': ['create', 'a name'],
      'one dot': ['create', '.'],
      empty: ['create', ''],
      '250 letters': ['create', 'n'.repeat(250)],
      'not ASCII': ['create', 'größe']
    }),
    'errors.topics': async () => {
      const topic = await newTopic(2)
      return said({
        'create: taken': ['create', topic],
        'create: no partitions': ['create', freshName(), { partitions: 0 }],
        'delete: unknown': ['remove', 'nowhere'],
        'grow: unknown': ['grow', 'nowhere', 3],
        'grow: fewer': ['grow', topic, 1],
        'grow: the same': ['grow', topic, 2],
        'configs: unknown': ['configs', 'nowhere'],
        'delete group: unknown': ['deleteGroup', 'nobody']
      })
    },
    'errors.configs': async () => {
      const topic = await newTopic()
      return said({
        'create: unknown': ['create', freshName(), { configs: { 'no.such': '1' } }],
        'create: not a number': ['create', freshName(), { configs: { 'retention.ms': 'long' } }],
        'create: too small': ['create', freshName(), { configs: { 'retention.ms': '-2' } }],
        'create: not one of a list': ['create', freshName(), { configs: { 'cleanup.policy': 'keep' } }],
        'alter: unknown': ['alter', topic, { 'no.such': '1' }],
        'alter: not a number': ['alter', topic, { 'max.message.bytes': 'many' }],
        'alter: unknown topic': ['alter', 'nowhere', { 'retention.ms': '1000' }]
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
