'use strict'
// kafkajs. It consumes in groups only, so a reader is the one member of a group of its own, whose
// offsets are set before it starts.
const { BOOTSTRAP, freshName, pause, waitFor } = require('./harness.js')

const CODECS = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 }

module.exports = installed => {
  const { Kafka, logLevel, Partitioners, CompressionCodecs } = installed('kafkajs')
  CompressionCodecs[CODECS.snappy] = installed('kafkajs-snappy')
  const version = installed('kafkajs/package.json').version
  const level = process.env.COMPAT_TRACE ? logLevel.DEBUG : logLevel.NOTHING
  const retry = { initialRetryTime: 50, maxRetryTime: 1000, retries: 1000 }

  const kafka = (more = {}) => new Kafka({
    clientId: 'compat', brokers: [BOOTSTRAP], logLevel: level, retry, enforceRequestTimeout: true, requestTimeout: 60_000, ...more
  })

  /** The innermost error is the one that says something. */
  const inner = e => e.cause && e.cause.name ? inner(e.cause) : (e.errors && e.errors[0]) ? inner(e.errors[0]) : e
  const nameOf = e => inner(e).type || inner(e).name

  async function asked (question, more) {
    const admin = kafka(more).admin()
    await admin.connect()
    try {
      return await question(admin)
    } finally {
      await admin.disconnect()
    }
  }

  const record = (partition, m) => ({
    partition,
    offset: Number(m.offset),
    timestamp: Number(m.timestamp),
    key: m.key,
    value: m.value,
    headers: Object.entries(m.headers || {}).flatMap(([k, v]) => Array.isArray(v) ? v.map(one => [k, one]) : [[k, v]])
  })

  function message ({ partition, timestamp, key = null, value, headers = [] }) {
    const grouped = {}
    for (const [k, v] of headers) grouped[k] = k in grouped ? [].concat(grouped[k], v) : v
    return { partition, timestamp: timestamp === undefined ? undefined : String(timestamp), key, value, headers: grouped }
  }

  async function producer ({ codec, acks, idempotent, records = 1000, transactionalId, impatient }) {
    const made = kafka(impatient ? { retry: { retries: 2 } } : {}).producer({
      idempotent: idempotent || !!transactionalId,
      transactionalId,
      maxInFlightRequests: 1,
      createPartitioner: Partitioners.DefaultPartitioner,
      ...(transactionalId ? { transactionTimeout: 20_000 } : {})
    })
    await made.connect()
    const options = { acks: acks === undefined || acks === 'all' ? -1 : Number(acks), compression: CODECS[codec || 'none'] }
    let waiting = new Map()
    let transaction = null
    return {
      async send (topic, one) {
        if (!waiting.has(topic)) waiting.set(topic, [])
        waiting.get(topic).push(message(one))
      },
      async flush () {
        const sending = waiting
        const errors = []
        waiting = new Map()
        for (const [topic, messages] of sending) {
          for (let at = 0; at < messages.length; at += records) {
            try {
              await (transaction || made).send({ topic, messages: messages.slice(at, at + records), ...options })
            } catch (e) {
              errors.push(nameOf(e))
            }
          }
        }
        return errors
      },
      async begin () { transaction = await made.transaction() },
      async commit () {
        const errors = await this.flush()
        if (errors.length) throw new Error(errors[0])
        await transaction.commit()
        transaction = null
      },
      async abort () {
        waiting = new Map()
        await transaction.abort()
        transaction = null
      },
      async sendOffsets (offsets, group) {
        const topics = offsets.map(([topic, partition, offset]) => ({ topic, partitions: [{ partition, offset: String(offset) }] }))
        await transaction.sendOffsets({ consumerGroupId: group, topics })
      },
      async close () { await made.disconnect() }
    }
  }

  async function reader (topic, partitions, { starts = {}, committed = false } = {}) {
    const groupId = freshName('reader')
    const begins = Object.entries(starts)
    if (begins.length) {
      await asked(admin => admin.setOffsets({ groupId, topic, partitions: begins.map(([p, offset]) => ({ partition: Number(p), offset: String(offset) })) }))
    }
    const consumer = kafka().consumer({ groupId, readUncommitted: !committed, maxWaitTimeInMs: 100, sessionTimeout: 30_000 })
    await consumer.connect()
    await consumer.subscribe({ topics: [topic], fromBeginning: true })
    const found = []
    await consumer.run({
      autoCommit: false,
      eachBatch: async ({ batch }) => { found.push(...batch.messages.map(m => record(batch.partition, m))) }
    })
    const where = list => [{ topic, partitions: list }]
    return {
      async poll (ms) {
        const until = Date.now() + ms
        while (!found.length && Date.now() < until) await pause(5)
        return found.splice(0)
      },
      async seek (partition, offset) {
        const at = { beginning: -2, end: -1 }[offset] ?? offset
        consumer.seek({ topic, partition, offset: String(at) })
      },
      async pause (list) { consumer.pause(where(list)) },
      async resume (list) { consumer.resume(where(list)) },
      async close () {
        await consumer.disconnect()
      }
    }
  }

  async function member (group, topic, { sessionMs = 30_000, latest = false, records = [], commits = true } = {}) {
    const consumer = kafka().consumer({ groupId: group, sessionTimeout: sessionMs, heartbeatInterval: 500, rebalanceTimeout: 60_000, maxWaitTimeInMs: 100, metadataMaxAge: 1000 })
    const m = { owned: new Set(), events: [], records, failed: null, topic }
    const changed = (kind, partitions) => partitions.length && m.events.push([kind, partitions])
    const gone = () => {
      changed('revoked', [...m.owned])
      m.owned = new Set()
    }
    consumer.on(consumer.events.REBALANCING, gone)
    consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
      gone()
      m.owned = new Set(payload.memberAssignment[topic] || [])
      changed('assigned', [...m.owned])
    })
    consumer.on(consumer.events.CRASH, ({ payload }) => { if (!payload.restart) m.failed = payload.error })
    await consumer.connect()
    await consumer.subscribe({ topics: [topic], fromBeginning: !latest })
    const running = consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: true,
      eachBatch: async ({ batch, resolveOffset }) => {
        const last = batch.messages.at(-1)
        records.push(...batch.messages.map(one => record(batch.partition, one)))
        resolveOffset(last.offset)
        if (commits) await consumer.commitOffsets([{ topic, partition: batch.partition, offset: String(Number(last.offset) + 1) }])
      }
    })
    running.catch(e => { m.failed = e })
    m.close = async () => {
      await consumer.disconnect()
    }
    return m
  }

  const entries = configs => Object.entries(configs || {}).map(([name, value]) => ({ name, value }))
  const admin = {
    create: (topic, { partitions = 1, replicas = 1, configs } = {}) => asked(a => a.createTopics({ topics: [{ topic, numPartitions: partitions, replicationFactor: replicas, configEntries: entries(configs) }] }), { retry: { retries: 0 } }),
    remove: topic => asked(a => a.deleteTopics({ topics: [topic] }), { retry: { retries: 0 } }),
    topics: () => asked(a => a.listTopics()),
    configs: topic => asked(async a => {
      const { resources } = await a.describeConfigs({ resources: [{ type: 2, name: topic }], includeSynonyms: false })
      return Object.fromEntries(resources[0].configEntries.map(e => [e.configName, e.configValue]))
    }, { retry: { retries: 0 } }),
    alter: (topic, configs) => asked(a => a.alterConfigs({ validateOnly: false, resources: [{ type: 2, name: topic, configEntries: entries(configs) }] }), { retry: { retries: 0 } }),
    grow: (topic, count) => asked(a => a.createPartitions({ topicPartitions: [{ topic, count }] }), { retry: { retries: 0 } }),
    deleteRecords: (topic, offsets) => asked(async a => {
      // It looks for the leaders before it has asked for them.
      await a.fetchTopicOffsets(topic)
      await a.deleteTopicRecords({ topic, partitions: Object.entries(offsets).map(([p, offset]) => ({ partition: Number(p), offset: String(offset) })) })
    }),
    groups: () => asked(async a => (await a.listGroups()).groups.map(g => g.groupId)),
    describeGroup: group => asked(async a => {
      const found = (await a.describeGroups([group])).groups[0]
      return { state: found.state, members: found.members.length, clients: found.members.map(m => m.clientId) }
    }),
    deleteGroup: group => asked(a => a.deleteGroups([group]), { retry: { retries: 0 } }),
    cluster: () => asked(async a => {
      const c = await a.describeCluster()
      return { id: c.clusterId, controller: c.controller, brokers: c.brokers.map(b => `${b.host}:${b.port}`), ids: c.brokers.map(b => b.nodeId) }
    })
  }

  const none = why => names => Object.fromEntries(names.map(name => [name, why]))
  return {
    name: 'kafkajs',
    version,
    unavailable: {
      ...none('no codec for it that is not compiled at its installation')(['codec.lz4', 'codec.zstd']),
      ...none('this client has no static members')(['group.static']),
      ...none('metadata is asked for by name')(['metadata.by-id']),
      'eos.chain': 'sendOffsets takes a group\'s name and no member (no KIP-447), so a chain with more than one member cannot be exact'
    },
    protocols: ['eager'],
    rejoins: true,
    // A commit that fails while the broker is away is not tried again: what it was for comes again.
    repeats: true,
    nullHeaders: false,
    endForNone: true,
    tooLarge: 'MESSAGE_TOO_LARGE',
    unknownTopic: 'UNKNOWN_TOPIC_OR_PARTITION',
    says: e => `${inner(e).name}${inner(e).type ? ` ${inner(e).type}` : ''}: ${inner(e).message}`,
    metadata: topic => asked(async a => {
      const { topics } = await a.fetchTopicMetadata(topic ? { topics: [topic] } : undefined)
      const { brokers } = await a.describeCluster()
      const sorted = t => t.partitions.sort((x, y) => x.partitionId - y.partitionId).map(p => p.leader)
      return { brokers: brokers.map(b => `${b.host}:${b.port}`), leaders: Object.fromEntries(topics.map(t => [t.name, sorted(t)])) }
    }),
    producer,
    reader,
    member,
    // Where there is none, it answers the end.
    offsetAt: (topic, partition, at) => asked(async a => Number((await a.fetchTopicOffsetsByTimestamp(topic, at)).find(o => o.partition === partition).offset)),
    ends: (topic, partitions) => asked(async a => {
      const found = await a.fetchTopicOffsets(topic)
      return Array.from({ length: partitions }, (_, p) => Number(found.find(o => o.partition === p).high))
    }),
    starts: (topic, partitions) => asked(async a => {
      const found = await a.fetchTopicOffsets(topic)
      return Array.from({ length: partitions }, (_, p) => Number(found.find(o => o.partition === p).low))
    }),
    committed: (group, topic, partition) => asked(async a => {
      const found = (await a.fetchOffsets({ groupId: group, topics: [topic] }))[0].partitions.find(p => p.partition === partition)
      return { offset: found ? Number(found.offset) : -1, metadata: (found && found.metadata) || '' }
    }),
    /** Only a member commits metadata. */
    async commit (group, topic, partition, offset, metadata) {
      const consumer = kafka().consumer({ groupId: group })
      let joined = false
      consumer.on(consumer.events.GROUP_JOIN, () => { joined = true })
      await consumer.connect()
      await consumer.subscribe({ topics: [topic], fromBeginning: true })
      await consumer.run({ autoCommit: false, eachMessage: async () => {} })
      await waitFor('a join', () => joined)
      await consumer.commitOffsets([{ topic, partition, offset: String(offset), metadata }])
      await consumer.disconnect()
    },
    admin,
    elsewhere: brokers => asked(a => a.listTopics(), { brokers, retry: { retries: 1 }, connectionTimeout: 5000 })
  }
}
