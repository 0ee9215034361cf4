'use strict'
// Scenarios of one producer and one reader.
const { BOOTSTRAP, ORIGIN_MS, control, expect, freshName, newTopic, pause, waitFor } = require('./harness.js')

const READ_S = 60
const text = value => value === null || value === undefined ? null : value.toString()

function numbered (count, width = 0) {
  const tail = 'x'.repeat(width)
  return Array.from({ length: count }, (_, i) => `record ${String(i).padStart(8, '0')} ${tail}`)
}

/** What most scenarios need. */
class Shared {
  constructor (client) { this.client = client }

  async produce (topic, values, options = {}, partition = 0) {
    const producer = await this.client.producer(options)
    try {
      for (const value of values) await producer.send(topic, { partition, value: Buffer.from(value) })
      expect('delivery errors', await producer.flush(), [])
    } finally {
      await producer.close()
    }
  }

  /** Everything from the starts to the ends. */
  async read (topic, partitions = 1, starts = {}) {
    const ends = await this.client.ends(topic, partitions)
    const missing = new Set(ends.map((end, p) => end > (starts[p] || 0) ? p : -1).filter(p => p >= 0))
    const reader = await this.client.reader(topic, partitions, { starts })
    const found = []
    try {
      await waitFor(() => `the ends of partitions ${[...missing]}; ${found.length} records came`, async () => {
        for (const record of missing.size ? await reader.poll(200) : []) {
          found.push(record)
          if (record.offset >= ends[record.partition] - 1) missing.delete(record.partition)
        }
        return missing.size === 0
      }, READ_S)
    } finally {
      await reader.close()
    }
    return found
  }

  async values (topic) { return (await this.read(topic)).map(r => text(r.value)) }

  /** The values up to `last`, which each partition has. */
  async readUntil (topic, last, partitions, committed) {
    const reader = await this.client.reader(topic, partitions, { committed })
    const found = []
    let missing = partitions
    try {
      await waitFor(() => `${last} in each of ${partitions} partitions; ${found.length} records came`, async () => {
        for (const record of await reader.poll(200)) {
          if (text(record.value) === last) missing -= 1
          else found.push(record)
        }
        return missing <= 0
      }, READ_S)
    } finally {
      await reader.close()
    }
    return found
  }
}

module.exports = client => {
  const s = new Shared(client)

  async function codec (name) {
    const topic = await newTopic()
    const sent = numbered(10_000, 100)
    await s.produce(topic, sent, { codec: name, records: 2000 })
    expect('values', await s.values(topic), sent)
    const stored = await control('batches', topic, 0)
    expect('codecs stored', [...new Set(stored.map(b => b.codec))], [name])
    return `${stored.length} batches`
  }

  async function acks (level) {
    const topic = await newTopic()
    const sent = numbered(1000)
    await s.produce(topic, sent, { acks: level })
    // Nobody told the producer with acks=0 when its records were there.
    await waitFor('1000 records', async () => (await client.ends(topic, 1))[0] >= 1000, 30)
    expect('values', await s.values(topic), sent)
  }

  /** Eight records a second apart, in batches of two; answers the topic. */
  async function spaced () {
    const topic = await newTopic()
    const producer = await client.producer({})
    for (let i = 0; i < 8; i++) {
      await producer.send(topic, { partition: 0, value: Buffer.from(`at ${i}`), timestamp: ORIGIN_MS + 1000 * i })
      if (i % 2) expect('delivery errors', await producer.flush(), [])
    }
    await producer.close()
    return topic
  }

  async function restart (how) {
    const topic = await newTopic()
    const sent = numbered(20_000)
    const producer = await client.producer({ idempotent: true, records: 50 })
    let going = Promise.resolve()
    for (let i = 0; i < sent.length; i++) {
      if (i === 5000 || i === 12_000) {
        await going
        going = control(how)
      }
      await producer.send(topic, { partition: 0, value: Buffer.from(sent[i]) })
      if (i % 500 === 499) expect('delivery errors', await producer.flush(), [])
    }
    await going
    expect('delivery errors', await producer.flush(), [])
    await producer.close()
    const got = await s.values(topic)
    const distinct = new Set(got)
    expect('lost', sent.filter(v => !distinct.has(v)).length, 0)
    expect('doubled', got.length - distinct.size, 0)
    expect('in order', got.every((v, i) => v === sent[i]), true)
    return 'two restarts'
  }

  return {
    'metadata.all': async () => {
      const topic = await newTopic(3)
      const { brokers, leaders } = await client.metadata()
      expect('brokers', brokers, [BOOTSTRAP])
      expect('partitions', (leaders[topic] || []).length, 3)
    },
    'metadata.by-name': async () => {
      const topic = await newTopic(3)
      const other = await newTopic()
      const { leaders } = await client.metadata(topic)
      expect('topics', Object.keys(leaders), [topic])
      expect('leaders', new Set(leaders[topic]).size, 1)
      return `did not list ${other}`
    },
    'codec.none': () => codec('none'),
    'codec.gzip': () => codec('gzip'),
    'codec.snappy': () => codec('snappy'),
    'codec.lz4': () => codec('lz4'),
    'codec.zstd': () => codec('zstd'),
    'records.shapes': async () => {
      const topic = await newTopic()
      const timestamp = ORIGIN_MS
      const headers = [['a', '1'], ['a', '2'], ['empty', '']].concat(client.nullHeaders ? [['null', null]] : [])
      const sides = [null, '', 'text']
      const sent = sides.flatMap(key => sides.map(value => [key, value]))
      const producer = await client.producer({})
      const bytes = side => side === null ? null : Buffer.from(side)
      for (const [key, value] of sent) {
        const record = { partition: 0, timestamp, key: bytes(key), value: bytes(value), headers: headers.map(([k, v]) => [k, bytes(v)]) }
        await producer.send(topic, record)
      }
      expect('delivery errors', await producer.flush(), [])
      await producer.close()
      const got = await s.read(topic)
      expect('records', got.map(r => [text(r.key), text(r.value)]), sent)
      expect('timestamps', [...new Set(got.map(r => r.timestamp))], [timestamp])
      for (const record of got) expect('headers', record.headers.map(([k, v]) => [k, text(v)]), headers)
      return client.nullHeaders ? '' : 'this client sends no null headers'
    },
    'keys.partitions': async () => {
      const topic = await newTopic(8)
      const producer = await client.producer({})
      for (let i = 0; i < 1000; i++) await producer.send(topic, { key: Buffer.from(`key-${i % 100}`), value: Buffer.from(String(i)) })
      expect('delivery errors', await producer.flush(), [])
      await producer.close()
      const got = await s.read(topic, 8)
      expect('records', got.map(r => Number(r.value)).sort((a, b) => a - b), Array.from({ length: 1000 }, (_, i) => i))
      const homes = new Map()
      for (const r of got) {
        expect(`home of ${r.key}`, homes.get(text(r.key)) ?? r.partition, r.partition)
        homes.set(text(r.key), r.partition)
      }
      expect('partitions used', new Set(homes.values()).size, 8)
    },
    'acks.0': () => acks('0'),
    'acks.1': () => acks('1'),
    'acks.all': () => acks('all'),
    idempotent: async () => {
      const topic = await newTopic()
      const sent = numbered(5000)
      await s.produce(topic, sent, { idempotent: true, records: 100 })
      expect('values', await s.values(topic), sent)
      const stored = await control('batches', topic, 0)
      expect('batches without a producer id', stored.filter(b => b.producer_id < 0), [])
      expect('producer ids', new Set(stored.map(b => b.producer_id)).size, 1)
      return `${stored.length} batches`
    },
    'time.lookup': async () => {
      const topic = await spaced()
      for (let i = 0; i < 8; i++) {
        const at = ORIGIN_MS + 1000 * i
        expect(`the timestamp of offset ${i}`, await client.offsetAt(topic, 0, at), i)
        expect(`just before offset ${i}`, await client.offsetAt(topic, 0, at - 1), i)
      }
      expect('after the last', await client.offsetAt(topic, 0, ORIGIN_MS + 7001), client.endForNone ? 8 : -1)
    },
    'time.start': async () => {
      const topic = await spaced()
      const start = await client.offsetAt(topic, 0, ORIGIN_MS + 4500)
      const got = await s.read(topic, 1, { 0: start })
      expect('records', got.map(r => [r.offset, r.timestamp]), [5, 6, 7].map(i => [i, ORIGIN_MS + 1000 * i]))
    },
    'records.1mb': async () => {
      const topic = await newTopic()
      const bodies = Array.from({ length: 5 }, (_, i) => Buffer.from(Array.from({ length: 1_000_000 }, (_, at) => (at * 31 ^ i) & 255)))
      const producer = await client.producer({ records: 1 })
      for (const value of bodies) await producer.send(topic, { partition: 0, value })
      expect('delivery errors', await producer.flush(), [])
      await producer.close()
      const got = await s.read(topic)
      expect('bodies', got.length === 5 && got.every((r, i) => r.value.equals(bodies[i])), true)
    },
    'records.too-large': async () => {
      const topic = await newTopic()
      const producer = await client.producer({ records: 1 })
      await producer.send(topic, { partition: 0, value: Buffer.alloc(2_000_000, 'x') })
      expect('errors', await producer.flush(), [client.tooLarge])
      await producer.send(topic, { partition: 0, value: Buffer.from('small') })
      expect('errors', await producer.flush(), [])
      await producer.close()
      expect('values', await s.values(topic), ['small'])
      return client.tooLarge
    },
    'partitions.many': async () => {
      const topic = await newTopic(200)
      const sent = numbered(20_000)
      const producer = await client.producer({ idempotent: true, records: 5000 })
      for (let i = 0; i < sent.length; i++) await producer.send(topic, { partition: i % 200, value: Buffer.from(sent[i]) })
      expect('delivery errors', await producer.flush(), [])
      await producer.close()
      const got = await s.read(topic, 200)
      expect('records', got.length, 20_000)
      expect('values', got.every(r => text(r.value) === sent[200 * r.offset + r.partition]), true)
      expect('partitions listed', (await client.metadata(topic)).leaders[topic].length, 200)
    },
    'consume.tail': async () => {
      const topic = await newTopic()
      const reader = await client.reader(topic, 1, {})
      const producer = await client.producer({})
      let slowest = 0
      try {
        for (let i = 0; i < 20; i++) {
          await producer.send(topic, { partition: 0, value: Buffer.from(`record ${i}`) })
          expect('delivery errors', await producer.flush(), [])
          const acknowledged = Date.now()
          let got = []
          await waitFor('the record', async () => (got = await reader.poll(1000)).length, 30)
          expect('values', got.map(r => text(r.value)), [`record ${i}`])
          // The first one waits for the reader's start.
          slowest = i ? Math.max(slowest, Date.now() - acknowledged) : 0
        }
      } finally {
        await reader.close()
        await producer.close()
      }
      expect('the slowest within five seconds of its acknowledgement', slowest < 5000, true)
      return `slowest of 19: ${slowest} ms after its acknowledgement`
    },
    'auto-create.on': async () => {
      const topic = freshName('compat-auto')
      await s.produce(topic, ['made by use'])
      expect('values', await s.values(topic), ['made by use'])
    },
    'auto-create.off': async () => {
      await control('settings', 'auto.create.topics.enable=false')
      try {
        const topic = freshName('compat-auto')
        const producer = await client.producer({ impatient: true })
        await producer.send(topic, { partition: 0, value: Buffer.from('nowhere') })
        expect('errors', await producer.flush(), [client.unknownTopic])
        await producer.close()
        expect('the topic was made', topic in (await client.metadata()).leaders, false)
      } finally {
        await control('settings')
      }
      return client.unknownTopic
    },
    'restart.clean': () => restart('restart'),
    'restart.crash': () => restart('crash')
  }
}

module.exports.Shared = Shared
module.exports.text = text
module.exports.numbered = numbered
module.exports.pause = pause
