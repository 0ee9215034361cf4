package scenarios

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"trestle.compat/model"
)

const (
	partitions = 6
	// Longer than any wait here: what is taken over was not taken over because a session ended.
	session = 60 * time.Second
	short   = 6 * time.Second
	atOnce  = 40 * time.Second
	settles = 60 * time.Second
)

func (s *shared) groups() []scenario {
	return []scenario{
		{"group.join", func() string { return s.join("") }},
		{"group.leave", func() string { return s.leave("") }},
		{"group.kill", s.kill},
		{"group.cooperative", s.cooperative},
		{"group.static", s.static},
		{"group.kip848", func() string { s.need("kip848"); s.join("kip848"); return s.leave("kip848") }},
		{"group.rolling", s.rolling},
		{"group.grow", s.grow},
		{"group.offsets", s.offsets},
		{"group.restart", s.groupRestart},
	}
}

func (s *shared) need(protocol string) {
	if !slices.Contains(s.client.Protocols(), protocol) {
		panic(failure{unavailable("this client has no " + protocol + " members")})
	}
}

func sorted(owned map[int32]bool) []int32 {
	list := []int32{}
	for p := range owned {
		list = append(list, p)
	}
	slices.Sort(list)
	return list
}

// settled waits until every partition has one owner and every member a partition.
func settled(members []model.Member, within time.Duration) []map[int32]bool {
	var found []map[int32]bool
	look := func() bool {
		found = nil
		seen := map[int32]bool{}
		total := 0
		for _, m := range members {
			owned := m.Log().Owned()
			if len(owned) == 0 {
				return false
			}
			found = append(found, owned)
			for p := range owned {
				seen[p] = true
				total++
			}
		}
		return total == partitions && len(seen) == partitions
	}
	waitFor(func() string {
		text := "each partition with one owner:"
		for _, m := range members {
			text += fmt.Sprint(" ", sorted(m.Log().Owned()))
			if err := m.Log().Failed(); err != nil {
				text += " " + err.Error()
			}
		}
		return text
	}, within, look)
	return found
}

// feed sends the numbers from first on, over all partitions, and answers how many there are now.
func (s *shared) feed(topic string, first, count int) int {
	p := got(s.client.Producer(model.ProducerOptions{}))
	defer p.Close()
	for i := first; i < first+count; i++ {
		p.Send(model.Record{Topic: topic, Partition: int32(i % partitions), Value: []byte(strconv.Itoa(i))})
	}
	noErrors(p)
	return first + count
}

func eachOnce(records *model.Records, count int, members []model.Member) {
	waitFor(func() string {
		text := fmt.Sprintf("%d of %d records came", len(records.All()), count)
		for _, m := range members {
			if err := m.Log().Failed(); err != nil {
				text += "; " + err.Error()
			}
		}
		return text
	}, readWithin, func() bool { return len(records.All()) >= count })
	numbers := []int{}
	for _, r := range records.All() {
		numbers = append(numbers, got(strconv.Atoi(string(r.Value))))
	}
	sort.Ints(numbers)
	if os.Getenv("COMPAT_TRACE") != "" {
		for i, m := range members {
			fmt.Fprintln(os.Stderr, "member", i, m.Log().Events(), m.Log().Failed())
		}
	}
	expect("records", numbers, upTo(count))
}

// eachAtLeastOnce is for members that join again by themselves, before they have committed.
func eachAtLeastOnce(records *model.Records, count int) {
	seen := map[string]bool{}
	waitFor(func() string { return fmt.Sprintf("%d of %d records came", len(seen), count) }, readWithin, func() bool {
		for _, r := range records.All() {
			seen[string(r.Value)] = true
		}
		return len(seen) >= count
	})
}

// members join one after the other, each when the others have settled.
func (s *shared) members(count int, options model.MemberOptions) []model.Member {
	if options.Session == 0 {
		options.Session = session
	}
	var members []model.Member
	for range count {
		members = append(members, got(s.client.Member(options)))
		settled(members, settles)
	}
	return members
}

func closeAll(members *[]model.Member) {
	for _, m := range *members {
		m.Close()
	}
}

func (s *shared) join(protocol string) string {
	topic, group, records := newTopic(partitions), freshName("group"), &model.Records{}
	members := s.members(3, model.MemberOptions{Group: group, Topic: topic, Protocol: protocol, Records: records})
	defer closeAll(&members)
	for _, m := range members {
		expect("size", len(m.Log().Owned()), 2)
	}
	eachOnce(records, s.feed(topic, 0, 600), members)
	s.kind(group, protocol)
	return ""
}

// kind insists that a group is of the protocol that was meant; DescribeGroups knows classic ones only.
func (s *shared) kind(group, protocol string) {
	classic := !strings.Contains(string(control("group", group)), "Dead")
	expect("the group is a classic one", classic, protocol != "kip848")
}

func (s *shared) leave(protocol string) string {
	topic, records := newTopic(partitions), &model.Records{}
	members := s.members(3, model.MemberOptions{Group: freshName("group"), Topic: topic, Protocol: protocol, Records: records})
	defer closeAll(&members)
	eachOnce(records, s.feed(topic, 0, 600), members)
	began, last := time.Now(), members[2]
	members = members[:2]
	last.Close()
	settled(members, atOnce)
	took := time.Since(began)
	eachOnce(records, s.feed(topic, 600, 600), members)
	return fmt.Sprintf("taken over after %d ms", took.Milliseconds())
}

// rolling upgrades member by member, each new one beside the old ones, to KIP-848 and back.
func (s *shared) rolling() string {
	s.need("kip848")
	topic, group, records, count := newTopic(partitions), freshName("group"), &model.Records{}, 0
	options := model.MemberOptions{Group: group, Topic: topic, Records: records, Session: session}
	members := s.members(2, options)
	defer func() { closeAll(&members) }()
	for _, protocol := range []string{"kip848", ""} {
		options.Protocol = protocol
		for range 2 {
			members = append(members, got(s.client.Member(options)))
			settled(members, settles)
			count = s.feed(topic, count, 300)
			eachOnce(records, count, members)
			// While a member of the new protocol is there the group is no classic one.
			s.kind(group, "kip848")
			first := members[0]
			members = members[1:]
			first.Close()
			settled(members, settles)
			count = s.feed(topic, count, 300)
			eachOnce(records, count, members)
		}
		s.kind(group, protocol)
	}
	return ""
}

// grow gives a topic partitions under the members of a group.
func (s *shared) grow() string {
	topic, records := newTopic(partitions/2), &model.Records{}
	options := model.MemberOptions{Group: freshName("group"), Topic: topic, Records: records, Session: session, Refresh: time.Second}
	members := []model.Member{got(s.client.Member(options)), got(s.client.Member(options))}
	defer closeAll(&members)
	waitFor(func() string { return "half of the partitions" }, settles, func() bool {
		return len(members[0].Log().Owned())+len(members[1].Log().Owned()) == partitions/2
	})
	control("grow", topic, partitions)
	began := time.Now()
	// Before anybody knows of them.
	count := s.feed(topic, 0, 300)
	settled(members, settles)
	took := time.Since(began)
	eachOnce(records, count, members)
	return fmt.Sprintf("known after %.1f s", took.Seconds())
}

func (s *shared) kill() string {
	topic, group, records := newTopic(partitions), freshName("group"), &model.Records{}
	member := got(s.client.Member(model.MemberOptions{Group: group, Topic: topic, Session: short, Records: records}))
	defer member.Close()
	other := exec.Command(got(os.Executable()), "member", group, topic)
	said := got(other.StdoutPipe())
	other.Stderr = os.Stderr
	must(other.Start())
	defer other.Wait()
	defer other.Process.Kill()
	theirs := []int32{}
	for lines := bufio.NewScanner(said); len(theirs) != partitions/2 && lines.Scan(); {
		must(json.Unmarshal(lines.Bytes(), &theirs))
	}
	waitFor(func() string { return "the other half" }, settles, func() bool { return len(member.Log().Owned()) == partitions/2 })
	for _, p := range theirs {
		expect("owned by both", member.Log().Owned()[p], false)
	}
	began := time.Now()
	must(other.Process.Kill())
	settled([]model.Member{member}, settles)
	took := time.Since(began)
	eachOnce(records, s.feed(topic, 0, 600), []model.Member{member})
	expect("not before the session's end", took > short/2, true)
	return fmt.Sprintf("taken over after %.1f s, the session was 6 s", took.Seconds())
}

// child is what kill kills: it says what it owns.
func child(client model.Client, group, topic string) {
	member := got(client.Member(model.MemberOptions{Group: group, Topic: topic, Session: short, Records: &model.Records{}}))
	var said []int32
	for os.Getppid() != 1 {
		must(member.Log().Failed())
		if now := sorted(member.Log().Owned()); said == nil || !slices.Equal(now, said) {
			line, _ := json.Marshal(now)
			fmt.Println(string(line))
			said = now
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (s *shared) cooperative() string {
	s.need("cooperative")
	topic, records := newTopic(partitions), &model.Records{}
	options := model.MemberOptions{Group: freshName("group"), Topic: topic, Protocol: "cooperative", Records: records, Session: session}
	members := s.members(2, options)
	defer closeAll(&members)
	before, seen := settled(members, settles), []int{len(members[0].Log().Events()), len(members[1].Log().Events())}
	members = append(members, got(s.client.Member(options)))
	after := settled(members, settles)
	for i := range 2 {
		given, kept := []int32{}, []int32{}
		for _, event := range members[i].Log().Events()[seen[i]:] {
			if !event.Assigned {
				given = append(given, event.Partitions...)
			}
		}
		for p := range before[i] {
			if !after[i][p] {
				kept = append(kept, p)
			}
		}
		slices.Sort(given)
		slices.Sort(kept)
		expect(fmt.Sprintf("what member %d gave up", i), given, kept)
	}
	eachOnce(records, s.feed(topic, 0, 600), members)
	return ""
}

func (s *shared) static() string {
	topic, records := newTopic(partitions), &model.Records{}
	options := func(instance string) model.MemberOptions {
		return model.MemberOptions{Group: "static-" + topic, Topic: topic, Instance: instance, Records: records, Session: session}
	}
	members := []model.Member{got(s.client.Member(options("a"))), got(s.client.Member(options("b")))}
	defer closeAll(&members)
	before := settled(members, settles)
	eachOnce(records, s.feed(topic, 0, 600), members)
	seen := len(members[0].Log().Events())
	members[1].Close()
	members[1] = got(s.client.Member(options("b")))
	expect("partitions", settled(members, settles), before)
	eachOnce(records, s.feed(topic, 600, 600), members)
	expect("events of the other member", len(members[0].Log().Events())-seen, 0)
	return ""
}

func (s *shared) offsets() string {
	topic, group, values := newTopic(1), freshName("group"), [][]byte{}
	for i := range 10 {
		values = append(values, []byte(strconv.Itoa(i)))
	}
	s.produce(topic, values, model.ProducerOptions{})
	committed := func(group string) string {
		offset, metadata, err := s.client.Committed(group, topic, 0)
		must(err)
		return fmt.Sprint(offset, metadata)
	}
	expect("no commit", committed(group), "-1")
	must(s.client.Commit(group, topic, 0, 5, "a note"))
	expect("commit", committed(group), "5a note")
	expect("another group", committed(freshName("group")), "-1")

	starts := func(group string, latest bool) model.Record {
		records := &model.Records{}
		member := got(s.client.Member(model.MemberOptions{Group: group, Topic: topic, Session: session, Latest: latest, NoCommits: true, Records: records}))
		defer member.Close()
		waitFor(func() string { return fmt.Sprint("an assignment ", member.Log().Failed()) }, settles, func() bool { return len(member.Log().Owned()) == 1 })
		waitFor(func() string { return "a record" }, settles, func() bool {
			if latest && len(records.All()) == 0 {
				s.produce(topic, [][]byte{[]byte("new")}, model.ProducerOptions{})
				time.Sleep(100 * time.Millisecond)
			}
			return len(records.All()) > 0
		})
		return records.All()[0]
	}
	expect("earliest with a commit", starts(group, false).Offset, int64(5))
	expect("earliest without", starts(freshName("group"), false).Offset, int64(0))
	expect("latest without", string(starts(freshName("group"), true).Value), "new")
	must(s.client.Commit(group, topic, 0, 2, ""))
	expect("after a reset", starts(group, false).Offset, int64(2))
	return ""
}

func (s *shared) groupRestart() string {
	topic, group, records := newTopic(partitions), freshName("group"), &model.Records{}
	// Longer than a restart of Apache Kafka takes.
	members := s.members(2, model.MemberOptions{Group: group, Topic: topic, Records: records, Session: 4 * session})
	defer closeAll(&members)
	count := s.feed(topic, 0, 300)
	eachOnce(records, count, members)
	ids := string(control("group", group))
	seen := [][]model.Event{members[0].Log().Events(), members[1].Log().Events()}
	for _, how := range []string{"restart", "crash"} {
		control(how)
		count = s.feed(topic, count, 300)
		if s.client.Rejoins() {
			eachAtLeastOnce(records, count)
		} else {
			eachOnce(records, count, members)
		}
	}
	settled(members, settles)
	if s.client.Forgets() {
		return fmt.Sprintf("a member that finds no broker joins as a new one; %d records twice", len(records.All())-count)
	}
	expect("members", string(control("group", group)), ids)
	if s.client.Rejoins() {
		return fmt.Sprintf("this client's members join again by themselves, under their old ids; %d records twice", len(records.All())-count)
	}
	for i := range members {
		expect("events", reflect.DeepEqual(members[i].Log().Events(), seen[i]), true)
	}
	return ""
}
