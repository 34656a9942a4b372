package main

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestYAMLKeepsOrderAndNumbers(t *testing.T) {
	const doc = `{"z":[],"a":{},"n":9007199254740993,"list":[{"k":"v","l":[1,[2,"x"]]},"no",null,true],"s":"1e3","m":"a\nb","":-0.5}`
	want := "z: []\na: {}\n\"n\": 9007199254740993\nlist:\n  - k: v\n    l:\n      - 1\n      - - 2\n        - x\n  - \"no\"\n  - null\n  - true\n" +
		"s: \"1e3\"\nm: \"a\\nb\"\n\"\": -0.5\n"
	got, err := yamlOf([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("YAML (-want +got):\n%s", diff)
	}
}

func TestYAMLRefusesWhatIsNotOneValue(t *testing.T) {
	for _, doc := range []string{"", "{", `{"a":}`, "[1", "1 2", "]"} {
		if got, err := yamlOf([]byte(doc)); err == nil {
			t.Errorf("%q became %q", doc, got)
		}
	}
}

func TestYAMLMeansWhatTheJSONMeans(t *testing.T) {
	texts := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "yes", "No", "null", "~", "1e3", "0x1F", "1_000", "012", ".5", ".inf",
		"- a", "a: b", "# c", "a #b", "|", ">", "'", "\"", "\\", "%x", "@x", "`", "!t", "&a", "*a", "2026-01-02", "12:30:00", " a", "a ", "\t", "\u0085",
		"\u2028", "\ufeff", "é", "😀", "---", "...", "?", "[", "{", "=", "<<", "true", "y", "N", "a\r\nb", "\x00", "\x7f"}))
	rapid.Check(t, func(rt *rapid.T) {
		var value func(depth int) any
		value = func(depth int) any {
			kinds := 6
			if depth > 3 {
				kinds = 4
			}
			switch rapid.IntRange(0, kinds-1).Draw(rt, "kind") {
			case 0:
				return texts.Draw(rt, "text")
			case 1:
				return rapid.Int32().Draw(rt, "number")
			case 2:
				return rapid.Bool().Draw(rt, "bool")
			case 3:
				return nil
			case 4:
				list := make([]any, rapid.IntRange(0, 3).Draw(rt, "length"))
				for i := range list {
					list[i] = value(depth + 1)
				}
				return list
			default:
				m := map[string]any{}
				for range rapid.IntRange(0, 3).Draw(rt, "size") {
					m[texts.Draw(rt, "key")] = value(depth + 1)
				}
				return m
			}
		}
		doc, err := json.Marshal(map[string]any{"top": value(0)})
		if err != nil {
			rt.Fatal(err)
		}
		y, err := yamlOf(doc)
		if err != nil {
			rt.Fatal(err)
		}
		var want any
		if err := json.Unmarshal(doc, &want); err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(want, parseYAML(t, string(y))); diff != "" {
			rt.Fatalf("meaning (-json +yaml):\n%s\n%s", diff, y)
		}
	})
}
