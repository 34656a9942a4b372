package ledger

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/tradingflow/weather-station/shared/failpoint"
	"github.com/tradingflow/weather-station/shared/ids"
)

//go:embed lua/*.lua
var luaFiles embed.FS

// script is one verb: its text behind the prelude, ready to run. A server
// without flags support (the embedded one) gets the text without its first line.
type script struct {
	name    string
	full    *redis.Script // with the flags line
	plain   *redis.Script // without it
	several *script       // does it for several calls at once; nil = there is none
	minArg  int           // highest ARGV index its header names outside a repeated part
}

// text returns what is sent to a server.
func (s *script) text(plain bool) *redis.Script {
	if plain {
		return s.plain
	}
	return s.full
}

var argPattern = regexp.MustCompile(`\[(\d+)\]`)

// loadScripts returns the scripts by name. They are put together once a process, and are
// not changed.
var loadScripts = sync.OnceValues(composeScripts)

func composeScripts() (map[string]*script, error) {
	shared, err := luaFiles.ReadFile("lua/prelude.lua")
	if err != nil {
		return nil, fmt.Errorf("read prelude: %w", err)
	}
	prelude := readPrelude(string(shared))
	entries, err := luaFiles.ReadDir("lua")
	if err != nil {
		return nil, fmt.Errorf("list scripts: %w", err)
	}
	scripts := make(map[string]*script, len(entries))
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".lua")
		if name == "prelude" {
			continue
		}
		body, err := luaFiles.ReadFile("lua/" + e.Name())
		if err != nil {
			return nil, fmt.Errorf("read script %s: %w", name, err)
		}
		flags, text := "", string(body)
		if strings.HasPrefix(text, "#!") {
			flags, text, _ = strings.Cut(text, "\n")
			flags += "\n"
		}
		head := "local VERB = '" + name + "'\n" + prelude.of(text)
		scripts[name] = &script{
			name:   name,
			full:   redis.NewScript(flags + head + text),
			plain:  redis.NewScript(head + text),
			minArg: headerArgs(text),
		}
	}
	for name, s := range scripts {
		s.several = scripts[name+"_several"]
	}
	return scripts, nil
}

// headerArgs returns the number of fixed arguments a script's header names: the
// highest [i] before the first "[i..]".
func headerArgs(text string) int {
	highest := 2
	for line := range strings.SplitSeq(text, "\n") {
		if !strings.HasPrefix(line, "--") {
			break
		}
		for _, m := range argPattern.FindAllStringSubmatch(line, -1) {
			if n, err := strconv.Atoi(m[1]); err == nil && n > highest {
				highest = n
			}
		}
	}
	return highest
}

// reply is what a script answered: an integer code first, then values.
type reply []any

// code returns the integer code.
func (r reply) code() int64 {
	if len(r) == 0 {
		return 0
	}
	n, _ := r[0].(int64)
	return n
}

// text returns value i as a string; a missing one is "".
func (r reply) text(i int) string {
	if i >= len(r) {
		return ""
	}
	switch v := r[i].(type) {
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	default:
		return ""
	}
}

// int returns value i as a number; what is no number is 0.
func (r reply) int(i int) int64 {
	n, _ := strconv.ParseInt(r.text(i), 10, 64)
	return n
}

// call runs a verb. The first code of a refusal by epoch (0 for the verbs that
// carry one) becomes a *FencedError.
func (l *Ledger) call(ctx context.Context, verb string, epoch ids.Epoch, args ...any) (reply, error) {
	s := l.scripts[verb]
	if s == nil {
		return nil, fmt.Errorf("ledger: no script %q", verb)
	}
	all := make([]any, 0, len(args)+2)
	all = append(append(all, l.journalMax, int64(epoch)), args...)
	if len(all) < s.minArg {
		return nil, fmt.Errorf("ledger: %s needs %d arguments, got %d", verb, s.minArg, len(all))
	}
	r := &request{text: s.text(l.plainScripts), keys: []string{l.prefix}, args: all}
	if s.several != nil {
		r.several = s.several.text(l.plainScripts)
	}
	failpoint.Before(verb)
	v, err := l.link.run(ctx, r)
	failpoint.After(verb)
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("ledger %s: %w", verb, classify(err))
	}
	got := reply(v)
	if epoch != 0 && got.code() == 0 {
		l.fenced.add(verb)
		return nil, &FencedError{Verb: verb, Own: epoch, Higher: ids.Epoch(got.int(1))}
	}
	return got, nil
}

// flag is a yes or no as scripts take it.
func flag(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
