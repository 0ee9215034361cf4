'use strict'
// node-rdkafka, which carries the source of librdkafka and builds it when it is installed.
const { BOOTSTRAP, freshName, pause, waitFor } = require('./harness.js')

const WAIT_MS = 60_000
const BEGINNING = -2
const END = -1

module.exports = installed => {
  const rdkafka = installed('node-rdkafka')
  const version = `${installed('node-rdkafka/package.json').version.replace(/^v/, '')} (librdkafka ${rdkafka.librdkafkaVersion})`
  const codes = Object.entries(rdkafka.CODES.ERRORS)
  /** ERR_MSG_SIZE_TOO_LARGE for 10; a report of a delivery has no code, but a text. */
  const nameOf = e => e.code === -1 ? e.message : (codes.find(([, code]) => code === e.code) || [e.name])[0]
  // No broker at the moment, no coordinator yet: librdkafka goes on trying.
  const passing = e => ['ERR__TRANSPORT', 'ERR__ALL_BROKERS_DOWN', 'ERR__TIMED_OUT', 'ERR__RESOLVE', 'ERR_UNKNOWN_TOPIC_OR_PART', 'ERR__PARTITION_EOF'].includes(nameOf(e))

  const common = { 'bootstrap.servers': BOOTSTRAP, 'reconnect.backoff.max.ms': 200, log_level: 2, ...(process.env.COMPAT_TRACE ? { debug: process.env.COMPAT_TRACE, log_level: 7 } : {}) }

  /** Calls what ends with a callback. */
  const called = (target, method, ...words) => new Promise((resolve, reject) => {
    target[method](...words, (error, answer) => error ? reject(error) : resolve(answer))
  })
  const connected = async client => {
    if (process.env.COMPAT_TRACE) client.on('event.log', line => console.error(line.message))
    // A second's metadata is enough to start with: what comes later is said where it matters.
    await called(client, 'connect', { timeout: WAIT_MS })
    return client
  }
  const closed = client => new Promise(resolve => {
    const late = setTimeout(resolve, 30_000)
    client.disconnect(() => {
      clearTimeout(late)
      resolve()
    })
  })

  async function asked (question, settings = {}) {
    const consumer = await connected(new rdkafka.KafkaConsumer({ ...common, 'group.id': freshName('compat'), 'enable.auto.commit': false, ...settings }, {}))
    try {
      return await question(consumer)
    } finally {
      await closed(consumer)
    }
  }

  const record = m => ({
    partition: m.partition,
    offset: m.offset,
    timestamp: m.timestamp,
    key: m.key,
    value: m.value,
    headers: (m.headers || []).flatMap(Object.entries)
  })

  async function producer ({ codec, acks, idempotent, records = 1000, transactionalId, impatient }) {
    const settings = {
      ...common,
      dr_cb: true,
      'retry.backoff.ms': 50,
      'linger.ms': 5,
      'batch.num.messages': records,
      'message.max.bytes': 4_000_000,
      'compression.codec': codec || 'none',
      'enable.idempotence': !!(idempotent || transactionalId),
      ...(transactionalId ? { 'transactional.id': transactionalId, 'transaction.timeout.ms': 20_000, 'metadata.recovery.strategy': 'none' } : {}),
      ...(impatient ? { 'message.timeout.ms': 3000, 'topic.metadata.propagation.max.ms': 1000 } : {})
    }
    const made = await connected(new rdkafka.Producer(settings, acks === undefined ? {} : { acks: acks === 'all' ? -1 : Number(acks) }))
    made.setPollInterval(10)
    let [sent, reported, errors] = [0, 0, []]
    made.on('delivery-report', e => {
      reported += 1
      if (e) errors.push(nameOf(e))
    })
    /** What librdkafka says may be tried again is. */
    async function tried (method, ...words) {
      const until = Date.now() + WAIT_MS
      for (;;) {
        try {
          return await called(made, method, ...words)
        } catch (e) {
          if (!e.isRetriable || Date.now() > until) throw e
        }
      }
    }
    if (transactionalId) await tried('initTransactions', WAIT_MS)
    return {
      async send (topic, { partition, timestamp, key = null, value, headers = [] }) {
        for (;;) {
          try {
            made.produce(topic, partition ?? -1, value, key, timestamp ?? null, null, headers.map(([k, v]) => ({ [k]: v })))
            sent += 1
            return
          } catch (e) {
            if (nameOf(e) !== 'ERR__QUEUE_FULL') throw e
            made.poll()
            await pause(10)
          }
        }
      },
      async flush () {
        await called(made, 'flush', WAIT_MS)
        await waitFor(() => `${reported} of ${sent} reports`, () => reported === sent)
        return errors.splice(0)
      },
      begin: () => called(made, 'beginTransaction'),
      commit: () => tried('commitTransaction', WAIT_MS),
      abort: () => tried('abortTransaction', WAIT_MS),
      async sendOffsets (offsets, group) {
        await asked(consumer => tried('sendOffsetsToTransaction', offsets.map(([topic, partition, offset]) => ({ topic, partition, offset })), consumer, WAIT_MS), { 'group.id': group })
      },
      async close () { await closed(made) }
    }
  }

  /** Takes what comes, a batch at a time; errors that pass by are left out. */
  async function more (consumer) {
    try {
      return (await called(consumer, 'consume', 500)).map(record)
    } catch (e) {
      if (!passing(e)) throw e
      return []
    }
  }

  async function reader (topic, partitions, { starts = {}, committed = false } = {}) {
    const settings = { ...common, 'group.id': 'compat-reader', 'enable.auto.commit': false, 'isolation.level': committed ? 'read_committed' : 'read_uncommitted', 'fetch.wait.max.ms': 100 }
    const consumer = await connected(new rdkafka.KafkaConsumer(settings, {}))
    const at = partition => ({ topic, partition })
    consumer.setDefaultConsumeTimeout(50)
    consumer.assign(Array.from({ length: partitions }, (_, p) => ({ ...at(p), offset: starts[p] ?? BEGINNING })))
    return {
      async poll (ms) {
        const until = Date.now() + ms
        let found = []
        while (!(found = await more(consumer)).length && Date.now() < until) continue
        return found
      },
      seek: (partition, offset) => called(consumer, 'seek', { ...at(partition), offset: { beginning: BEGINNING, end: END }[offset] ?? offset }, WAIT_MS),
      async pause (list) { consumer.pause(list.map(at)) },
      async resume (list) { consumer.resume(list.map(at)) },
      close: () => closed(consumer)
    }
  }

  async function member (group, topic, { sessionMs = 30_000, latest = false, records = [], commits = true, instance, protocol, metadataMs } = {}) {
    const m = { owned: new Set(), events: [], records, failed: null, topic }
    const settings = {
      ...common,
      'group.id': group,
      'enable.auto.commit': false,
      'fetch.wait.max.ms': 100,
      ...(protocol === 'kip848'
        ? { 'group.protocol': 'consumer' }
        : { 'session.timeout.ms': sessionMs, 'heartbeat.interval.ms': 500, 'partition.assignment.strategy': protocol === 'cooperative' ? 'cooperative-sticky' : 'range,roundrobin' }),
      ...(instance ? { 'group.instance.id': instance } : {}),
      ...(metadataMs ? { 'topic.metadata.refresh.interval.ms': metadataMs } : {}),
      rebalance_cb: true
    }
    const consumer = new rdkafka.KafkaConsumer(settings, { 'auto.offset.reset': latest ? 'latest' : 'earliest' })
    consumer.on('rebalance', (e, list) => {
      const partitions = list.map(p => p.partition)
      const kind = e.code === rdkafka.CODES.ERRORS.ERR__ASSIGN_PARTITIONS ? 'assigned' : 'revoked'
      for (const p of partitions) kind === 'assigned' ? m.owned.add(p) : m.owned.delete(p)
      if (partitions.length) m.events.push([kind, partitions])
    })
    await connected(consumer)
    consumer.setDefaultConsumeTimeout(50)
    consumer.subscribe([topic])
    let closing = false
    /** As long as the broker is away; a commit that a rebalance overtakes is left to the next owner. */
    async function commit (found) {
      const ends = new Map(found.map(r => [r.partition, r.offset + 1]))
      for (;;) {
        try {
          return consumer.commitSync([...ends].map(([partition, offset]) => ({ topic, partition, offset })))
        } catch (e) {
          if (['ERR_REBALANCE_IN_PROGRESS', 'ERR_ILLEGAL_GENERATION', 'ERR_UNKNOWN_MEMBER_ID', 'ERR__NO_OFFSET', 'ERR_STALE_MEMBER_EPOCH'].includes(nameOf(e))) return
          if (!passing(e) && !['ERR__WAIT_COORD', 'ERR_NOT_COORDINATOR_FOR_GROUP', 'ERR_GROUP_COORDINATOR_NOT_AVAILABLE', 'ERR_GROUP_LOAD_IN_PROGRESS', 'ERR__DESTROY'].includes(nameOf(e))) throw e
          await pause(50)
        }
      }
    }
    async function run () {
      while (!closing) {
        const seen = m.events.length
        const found = await more(consumer)
        // Whether it was read before or after a rebalance is not known: what is still its own is read again.
        if (m.events.length !== seen) {
          for (const { partition, offset } of found.reverse().filter(r => m.owned.has(r.partition))) {
            await called(consumer, 'seek', { topic, partition, offset }, WAIT_MS).catch(() => {})
          }
          continue
        }
        if (!found.length) continue
        records.push(...found)
        if (commits) await commit(found)
      }
    }
    const running = run().catch(e => { m.failed = e })
    m.close = async () => {
      closing = true
      await running
      await closed(consumer)
    }
    return m
  }

  async function administered (method, ...words) {
    const client = rdkafka.AdminClient.create(common)
    try {
      return await called(client, method, ...words)
    } finally {
      client.disconnect()
    }
  }
  const metadata = topic => asked(async c => {
    const found = await called(c, 'getMetadata', { ...(topic ? { topic, allTopics: false } : {}), timeout: WAIT_MS })
    const sorted = t => t.partitions.sort((x, y) => x.id - y.id).map(p => p.leader)
    return { brokers: found.brokers.map(b => `${b.host}:${b.port}`), leaders: Object.fromEntries(found.topics.map(t => [t.name, sorted(t)])) }
  })
  const watermark = (side, topic, partitions) => asked(async c => {
    const found = []
    for (let p = 0; p < partitions; p++) found.push((await called(c, 'queryWatermarkOffsets', topic, p, WAIT_MS))[side])
    return found
  })

  return {
    name: 'node-rdkafka',
    version,
    unavailable: {
      ...(rdkafka.features.includes('zstd') ? {} : { 'codec.zstd': 'it was built where there is no libzstd to build with' }),
      'records.shapes': 'it reads an empty key or value as a null',
      'metadata.by-id': 'metadata is asked for by name',
      'eos.chain': 'kept for clients whose chain is written here; see confluent-kafka and rdkafka for librdkafka'
    },
    protocols: ['eager', 'cooperative', 'kip848'],
    rejoins: false,
    repeats: true,
    nullHeaders: false,
    commitMetadata: false,
    endForNone: false,
    tooLarge: 'message size too large',
    unknownTopic: 'unknown topic or partition',
    says: e => `${nameOf(e)}: ${e.message}`,
    metadata,
    producer,
    reader,
    member,
    offsetAt: (topic, partition, at) => asked(async c => {
      const [found] = await called(c, 'offsetsForTimes', [{ topic, partition, offset: at }], WAIT_MS)
      return found.offset >= 0 ? found.offset : -1
    }),
    ends: (topic, partitions) => watermark('highOffset', topic, partitions),
    starts: (topic, partitions) => watermark('lowOffset', topic, partitions),
    committed: (group, topic, partition) => asked(async c => {
      const [found] = await called(c, 'committed', [{ topic, partition }], WAIT_MS)
      return found.offset >= 0 ? { offset: found.offset, metadata: found.metadata || '' } : { offset: -1, metadata: '' }
    }, { 'group.id': group }),
    commit: (group, topic, partition, offset, metadata) => asked(async c => c.commitSync([{ topic, partition, offset, metadata }]), { 'group.id': group }),
    admin: {
      create: (topic, { partitions = 1, replicas = 1, configs } = {}) => administered('createTopic', { topic, num_partitions: partitions, replication_factor: replicas, config: configs || {} }, WAIT_MS),
      remove: topic => administered('deleteTopic', topic, WAIT_MS),
      topics: async () => Object.keys((await metadata()).leaders),
      grow: (topic, count) => administered('createPartitions', topic, count, WAIT_MS)
    },
    async elsewhere (brokers) {
      const lost = new rdkafka.Producer({ 'bootstrap.servers': brokers.join(), log_level: 0 })
      await called(lost, 'connect', { timeout: 3000 })
    }
  }
}
