'use strict'
// Scenarios of where a consumer is: seeking, pausing, and topics that change under it.
const { ORIGIN_MS, expect, freshName, newTopic, pause, waitFor } = require('./harness.js')
const { Shared, text } = require('./basic.js')

module.exports = client => {
  const s = new Shared(client)
  const range = (count, first = 0) => Array.from({ length: count }, (_, i) => String(first + i))

  /** Reads on until all those came, in that order. What was on its way before a seek does not count. */
  async function until (reader, ...wanted) {
    const left = [...wanted]
    await waitFor(() => `the record ${left[0]}`, async () => {
      for (const r of await reader.poll(200)) if (text(r.value) === left[0]) left.shift()
      return !left.length
    })
  }

  return {
    'seek.offset': async () => {
      const topic = await newTopic()
      await s.produce(topic, range(100))
      const reader = await client.reader(topic, 1, {})
      try {
        await until(reader, '99')
        await reader.seek(0, 40)
        await until(reader, '40', '99')
        await reader.seek(0, 'beginning')
        await until(reader, '0')
        await reader.seek(0, 'end')
        await pause(500)
        await s.produce(topic, ['new'])
        await until(reader, 'new')
      } finally {
        await reader.close()
      }
    },
    'seek.time': async () => {
      const topic = await newTopic()
      const producer = await client.producer({})
      for (let i = 0; i < 10; i++) await producer.send(topic, { partition: 0, value: Buffer.from(String(i)), timestamp: ORIGIN_MS + 1000 * i })
      expect('delivery errors', await producer.flush(), [])
      await producer.close()
      const reader = await client.reader(topic, 1, {})
      try {
        await until(reader, '9')
        await reader.seek(0, await client.offsetAt(topic, 0, ORIGIN_MS + 6500))
        let got = []
        await waitFor('records', async () => {
          got = got.concat(await reader.poll(200))
          return got.length >= 3
        })
        expect('values', got.map(r => text(r.value)), ['7', '8', '9'])
      } finally {
        await reader.close()
      }
    },
    'pause.resume': async () => {
      const topic = await newTopic(2)
      const reader = await client.reader(topic, 2, {})
      const got = [[], []]
      const more = async () => (await reader.poll(200)).forEach(r => got[r.partition].push(text(r.value)))
      try {
        for (const p of [0, 1]) await s.produce(topic, ['first'], {}, p)
        await waitFor('the first records', async () => { await more(); return got[0].length && got[1].length })
        await reader.pause([0])
        // What a fetch on its way brings is not held against it.
        await pause(1500)
        await more()
        for (const p of [0, 1]) await s.produce(topic, range(20), {}, p)
        await waitFor('the records of the other partition', async () => { await more(); return got[1].length === 21 })
        expect('of the paused partition', got[0], ['first'])
        await reader.resume([0])
        await waitFor('the records of the resumed partition', async () => { await more(); return got[0].length === 21 })
        expect('each once, in order', got, [['first', ...range(20)], ['first', ...range(20)]])
      } finally {
        await reader.close()
      }
    },
    'topic.recreated': async () => {
      const topic = await newTopic(1)
      const member = await client.member(freshName('group'), topic, { metadataMs: 1000 })
      const values = () => member.records.map(r => text(r.value))
      try {
        await s.produce(topic, ['old'])
        await waitFor('the old record', () => values().includes('old'))
        await client.admin.remove(topic)
        // By us, or by the consumer's own question for it.
        await waitFor('the topic\'s return', () => client.admin.create(topic).then(() => true, e => pause(100).then(() => /exist/i.test(client.says(e)))))
        await waitFor(() => `a new record, ${values()} ${member.failed && member.failed.message}`, async () => {
          await s.produce(topic, ['new'])
          await pause(200)
          return values().includes('new')
        }, 90)
      } finally {
        await member.close()
      }
    }
  }
}
