package ledger

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	headLine   = regexp.MustCompile(`^-- ([a-z_]+): \S.*[.]$`)
	openArg    = regexp.MustCompile(`\[(\d+)\.\.\]`)
	literalArg = regexp.MustCompile(`ARGV\[(\d+)\]`)
	otherKeys  = regexp.MustCompile(`KEYS\[[^1]`)
	built      = regexp.MustCompile(`\b(loadstring|load|dofile|require|EVAL|EVALSHA)\b`)
)

func TestScriptsFollowTheirContract(t *testing.T) {
	entries, err := luaFiles.ReadDir("lua")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) < 30 {
		t.Fatalf("only %d scripts are embedded", len(entries))
	}
	for _, e := range entries {
		t.Run(e.Name(), func(t *testing.T) {
			raw, err := luaFiles.ReadFile("lua/" + e.Name())
			if err != nil {
				t.Fatal(err)
			}
			text := string(raw)
			if built.MatchString(text) {
				t.Errorf("builds or loads a script: %s", built.FindString(text))
			}
			if name := strings.TrimSuffix(e.Name(), ".lua"); name != "prelude" {
				checkVerb(t, name, text)
			} else if strings.Count(text, "KEYS[") != 2 { // its comment and its first line
				t.Error("the prelude takes more than the prefix from KEYS")
			}
		})
	}
}

func checkVerb(t *testing.T, name, text string) {
	if flags, rest, ok := strings.Cut(text, "\n"); ok && strings.HasPrefix(flags, "#!") {
		if flags != "#!lua flags=allow-oom" {
			t.Errorf("flags line is %q", flags)
		}
		text = rest
	}
	var header []string
	for line := range strings.SplitSeq(text, "\n") {
		if !strings.HasPrefix(line, "--") {
			break
		}
		header = append(header, line)
	}
	head := strings.Join(header, "\n")
	if m := headLine.FindStringSubmatch(header[0]); m == nil || m[1] != name {
		t.Errorf("first comment line is %q, want -- %s: and a sentence", header[0], name)
	}
	if !strings.Contains(head, "\n-- Reply: ") {
		t.Error("the header has no Reply line")
	}
	code := strings.Join(strings.Split(text, "\n")[len(header):], "\n")
	if strings.Contains(text, "KEYS[") {
		t.Error("reads KEYS itself; the prefix is P of the prelude")
	}
	if otherKeys.MatchString(text) {
		t.Error("uses another key than KEYS[1]")
	}
	checkArguments(t, head, code)
}

func checkArguments(t *testing.T, head, code string) {
	named := map[int]bool{}
	last := 2
	for _, m := range regexp.MustCompile(`\[(\d+)\]`).FindAllStringSubmatch(head, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		named[n] = true
		last = max(last, n)
	}
	for n := 3; n <= last; n++ {
		if !named[n] {
			t.Errorf("the header leaves out ARGV[%d]", n)
		}
	}
	highest := last
	if m := openArg.FindStringSubmatch(head); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		if n != last+1 {
			t.Errorf("the repeated arguments begin at [%d..], the fixed ones end at [%d]", n, last)
		}
		highest = 1000 // a literal index within the first group
	} else if strings.Contains(head, "then ") {
		highest = 1000
	}
	for _, m := range literalArg.FindAllStringSubmatch(code, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		if n < 3 || n > highest {
			t.Errorf("uses ARGV[%d], the header documents 3 to %d", n, last)
		}
	}
}

func TestEveryTextBeginsWithThePrelude(t *testing.T) {
	scripts, err := loadScripts()
	if err != nil {
		t.Fatal(err)
	}
	if scripts["prelude"] != nil {
		t.Error("the prelude is a verb")
	}
	for name, s := range scripts {
		if s.minArg < 2 || name == "complete" && s.minArg != 22 || name == "drop_entries" && s.minArg != 2 {
			t.Errorf("%s needs %d arguments", name, s.minArg)
		}
	}
}

// A script gets what it uses of the prelude, and what that uses.
func TestAScriptGetsItsPartOfThePrelude(t *testing.T) {
	p := readPrelude("-- About it.\nlocal A, B = 1, 2\n\n-- one does it.\nlocal function one()\n  -- inside\n  return B\nend\n" +
		"local function two() return A end\nlocal function three() return one() end\nlocal C\n")
	for text, want := range map[string]string{
		"return 1":       "",
		"return A":       "local A, B = 1, 2\n\n",
		"return two()":   "local A, B = 1, 2\n\nlocal function two() return A end\n",
		"return three()": "local A, B = 1, 2\n\nlocal function one()\n  -- inside\n  return B\nend\nlocal function three() return one() end\n",
		"return oneself": "",
	} {
		if got := p.of(text); got != want {
			t.Errorf("for %q it is\n%s", text, got)
		}
	}
}

func TestCallRefusesTooFewArguments(t *testing.T) {
	l := openEmbedded(t)
	if _, err := l.call(t.Context(), "claim", 0, "f"); err == nil || !strings.Contains(err.Error(), "needs 12 arguments") {
		t.Errorf("claim with one argument: %v", err)
	}
	if _, err := l.call(t.Context(), "nonsense", 0); err == nil {
		t.Error("an unknown verb was run")
	}
}
