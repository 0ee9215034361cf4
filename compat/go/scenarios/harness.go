// Package scenarios is the scenarios of compat/scenarios.txt, for every client that package model describes.
package scenarios

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"trestle.compat/model"
)

// limit is how long a scenario may take, beyond the time that it goes on for.
func limit() time.Duration { return setting("COMPAT_LIMIT", 120) }

// unavailable is what a client does not have.
type unavailable string

func (u unavailable) Error() string { return string(u) }

// failure ends a scenario from any depth below it.
type failure struct{ err error }

func fail(format string, args ...any) {
	panic(failure{fmt.Errorf(format, args...)})
}

func must(err error) {
	if err != nil {
		panic(failure{err})
	}
}

func got[T any](value T, err error) T {
	must(err)
	return value
}

// expect says what differs without printing a megabyte.
func expect(what string, actual, wanted any) {
	if !reflect.DeepEqual(actual, wanted) {
		fail("%s: got %.300s, wanted %.300s", what, fmt.Sprint(actual), fmt.Sprint(wanted))
	}
}

func waitFor(what func() string, within time.Duration, condition func() bool) {
	deadline := time.Now().Add(within)
	for !condition() {
		if time.Now().After(deadline) {
			fail("%s: not within %v", what(), within)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// control asks the runner for something (see compat/runner/control.py) and answers what it said.
func control(words ...any) json.RawMessage {
	text := strings.TrimSpace(fmt.Sprintln(words...))
	conn := got(net.Dial("tcp", os.Getenv("COMPAT_CONTROL")))
	defer conn.Close()
	got(fmt.Fprintln(conn, text))
	var answer struct {
		OK    json.RawMessage
		Error string
	}
	must(json.Unmarshal(got(bufio.NewReader(conn).ReadBytes('\n')), &answer))
	if answer.Error != "" {
		fail("%s: %s", text, answer.Error)
	}
	return answer.OK
}

func freshName(kind string) string {
	random := make([]byte, 4)
	got(rand.Read(random))
	return kind + "-" + hex.EncodeToString(random)
}

func newTopic(partitions int) string {
	name := freshName("compat")
	control("create", name, partitions)
	return name
}

// seconds is how long scenarios go on that go on for a time.
func seconds() time.Duration { return setting("COMPAT_SECONDS", 15) }

func setting(name string, unset int) time.Duration {
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		n = unset
	}
	return time.Duration(n) * time.Second
}

func version(module string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, dep := range info.Deps {
			if dep.Path == module {
				return strings.TrimPrefix(dep.Version, "v")
			}
		}
	}
	return "unknown"
}

// said is what the client says when something is wrong: see compat/runner/said.py.
var said map[string]string

type scenario struct {
	name string
	body func() string
}

func attempt(body func() string) (note string, err error) {
	defer func() {
		if recovered := recover(); recovered != nil {
			if f, ok := recovered.(failure); ok {
				err = f.err
				return
			}
			err = fmt.Errorf("panic: %v", recovered)
			fmt.Fprintf(os.Stderr, "%v\n%s", recovered, debug.Stack())
		}
	}()
	return body(), nil
}

// Main runs what the arguments say: the scenarios, or a member that group.kill kills.
func Main(client model.Client) {
	if len(os.Args) == 4 && os.Args[1] == "member" {
		_, err := attempt(func() string { child(client, os.Args[2], os.Args[3]); return "" })
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	s := &shared{client}
	all := slices.Concat(s.basic(), s.groups(), s.transactions(), s.positions(), s.administration())
	wanted := map[string]bool{}
	for _, name := range strings.Fields(os.Getenv("COMPAT_SCENARIOS")) {
		wanted[name] = true
	}
	for _, one := range all {
		if len(wanted) > 0 && !wanted[one.name] {
			continue
		}
		began, result, note := time.Now(), "pass", ""
		said = map[string]string{}
		type outcome struct {
			note string
			err  error
		}
		ended := make(chan outcome, 1)
		go func() {
			if reason, ok := client.Unavailable()[one.name]; ok {
				ended <- outcome{"", unavailable(reason)}
				return
			}
			note, err := attempt(one.body)
			ended <- outcome{note, err}
		}()
		within := limit()
		if one.name == "eos.chain" {
			within += 2 * seconds()
		}
		select {
		case o := <-ended:
			var none unavailable
			switch {
			case errors.As(o.err, &none):
				result, note = "n/a", none.Error()
			case o.err != nil:
				result, note = "fail", strings.Join(strings.Fields(o.err.Error()), " ")
			default:
				note = o.note
			}
		case <-time.After(within):
			result, note = "fail", fmt.Sprintf("it did not end within %v", within)
		}
		fields := map[string]any{
			"client": client.Name(), "version": version(client.Module()), "scenario": one.name,
			"result": result, "ms": time.Since(began).Milliseconds(), "note": note,
		}
		if len(said) > 0 && result == "pass" {
			fields["said"] = said
		}
		line, _ := json.Marshal(fields)
		fmt.Println(string(line))
	}
}
