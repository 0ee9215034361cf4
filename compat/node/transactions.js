'use strict'
// Scenarios of transactions.
const { expect, freshName, newTopic, pause, refused, waitFor } = require('./harness.js')
const { Shared, text } = require('./basic.js')

const LAST = 'the last'

module.exports = client => {
  const s = new Shared(client)
  const open = name => client.producer({ transactionalId: name || freshName('txn') })
  const send = (producer, topic, value) => producer.send(topic, { partition: 0, value: Buffer.from(value) })
  async function flushed (producer) { expect('delivery errors', await producer.flush(), []) }
  /** The values of a topic up to a mark that is set at its end now. */
  async function marked (topic, committed = true) {
    await s.produce(topic, [LAST])
    return (await s.readUntil(topic, LAST, 1, committed)).map(r => text(r.value))
  }

  return {
    'txn.commit': async () => {
      const topics = [await newTopic(), await newTopic()]
      const sent = Array.from({ length: 1000 }, (_, i) => String(i))
      const producer = await open()
      await producer.begin()
      for (const value of sent) for (const topic of topics) await send(producer, topic, value)
      await producer.commit()
      await producer.close()
      for (const topic of topics) expect('values', await marked(topic), sent)
    },
    'txn.abort': async () => {
      const topic = await newTopic()
      const producer = await open()
      for (let i = 0; i < 10; i++) {
        await producer.begin()
        await send(producer, topic, String(i))
        await flushed(producer)
        await (i % 2 ? producer.abort() : producer.commit())
      }
      await producer.close()
      expect('read_committed', await marked(topic), ['0', '2', '4', '6', '8'])
      expect('read_uncommitted', await marked(topic, false), Array.from({ length: 10 }, (_, i) => String(i)).concat(LAST).filter(v => v !== LAST))
    },
    'txn.read-committed': async () => {
      const topic = await newTopic()
      const producer = await open()
      await s.produce(topic, ['before'])
      await producer.begin()
      await send(producer, topic, 'within')
      await flushed(producer)
      await s.produce(topic, ['behind'])
      const reader = await client.reader(topic, 1, { committed: true })
      const found = []
      const more = async () => found.push(...await reader.poll(200))
      const values = () => found.map(r => text(r.value))
      try {
        await waitFor('the first record', async () => { await more(); return found.length })
        // Long enough for a fetch that would bring more.
        const until = Date.now() + 1500
        while (Date.now() < until) await more()
        expect('while the transaction is open', values(), ['before'])
        await producer.commit()
        await waitFor('the others', async () => { await more(); return found.length >= 3 })
        expect('when it is committed', values(), ['before', 'within', 'behind'])
      } finally {
        await reader.close()
        await producer.close()
      }
    },
    'txn.offsets': async () => {
      const [topic, other, group] = [await newTopic(), await newTopic(), freshName('group')]
      const producer = await open()
      for (const [offset, commits] of [[3, true], [4, false], [5, true]]) {
        const before = (await client.committed(group, topic, 0)).offset
        await producer.begin()
        await send(producer, other, String(offset))
        await flushed(producer)
        await producer.sendOffsets([[topic, 0, offset]], group)
        await (commits ? producer.commit() : producer.abort())
        expect('committed', (await client.committed(group, topic, 0)).offset, commits ? offset : before)
      }
      await producer.close()
    },
    'txn.fencing': async () => {
      const [topic, name] = [await newTopic(), freshName('txn')]
      const first = await open(name)
      await first.begin()
      await send(first, topic, 'first')
      await flushed(first)
      const second = await open(name)
      await second.begin()
      await send(second, topic, 'second')
      await flushed(second)
      const said = client.says(await refused('the first producer\'s commit', () => first.commit()))
      await second.commit()
      await second.close()
      expect('values', await marked(topic), ['second'])
      await pause(0)
      return { fenced: said }
    }
  }
}
