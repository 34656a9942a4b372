package flow

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestUnreadable(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"empty", "", "bad_json||empty"},
		{"white space", " \n\t", "bad_json||empty"},
		{"only a comment", "# nothing\n", "bad_json||empty"},
		{"null", "null", "bad_shape||the document is null"},
		{"number", "-1.5e3\n", "bad_shape||is a number"},
		{"string", `"x"`, "bad_shape||is a string"},
		{"list", "[]", "bad_shape||is a list"},
		{"YAML list", "- a\n- b", "bad_shape||is a list"},
		{"words", "this is no document", "bad_json|line 1|neither a JSON object nor a YAML mapping"},
		{"cut off", `{"a": [1, 2`, "bad_json|line 1|found the end of the document"},
		{"trailing comma", "{\"a\": 1,\n}", "bad_json|line 2|found '}'"},
		{"missing comma", `{"a": 1 "b": 2}`, "bad_json|line 1|a comma or '}' is expected"},
		{"missing colon", `{"a" 1}`, "bad_json|line 1|a colon is expected"},
		{"text behind", `{} {}`, "bad_json|line 1|'{' follows the end"},
		{"single quotes", `{'a': 1}`, "bad_json|line 1|double quotes"},
		{"NaN", `{"a": NaN}`, "bad_json|line 1|a value is expected, found 'N'"},
		{"leading zero", `{"a": 01}`, "bad_json|line 1|comma"},
		{"bare minus", `{"a": -}`, "bad_json|line 1|number is malformed"},
		{"dot without digits", `{"a": 1.}`, "bad_json|line 1|number is malformed"},
		{"open string", `{"a": "x`, "bad_json|line 1|not closed"},
		{"open escape", `{"a": "x\`, "bad_json|line 1|not closed"},
		{"newline in a string", "{\"a\": \"x\ny\"}", "bad_json|line 1|control character"},
		{"unknown escape", `{"a": "\x"}`, "bad_json|line 1|escape"},
		{"short escape", `{"a": "\u12"}`, "bad_json|line 1|four hexadecimal digits"},
		{"half a pair", `{"a": "\ud800"}`, "bad_json|line 1|surrogate"},
		{"reversed pair", `{"a": "\ude00\ud83d"}`, "bad_json|line 1|surrogate"},
		{"invalid UTF-8", "{\n\"a\": \"\xff\"}", "bad_json|line 2|byte 8 is not valid UTF-8"},
		{"deep lists", strings.Repeat("[", 1_000_000), "too_large|line 1|64 deep"},
		{"deep objects", strings.Repeat(`{"a":`, 1_000_000), "too_large|line 1|64 deep"},
		{"deep YAML flow", "a: " + strings.Repeat("[", 100_000), "too_large|line 1|64 deep"},
		{"deep YAML dashes", strings.Repeat("- ", 100_000), "too_large|line 1|64 deep"},
		{"deep YAML keys", strings.Repeat("? ", 100_000), "too_large|line 1|64 deep"},
		{"row of colons", "a: [" + strings.Repeat("a: ", 100_000) + "]", "too_large|line 1|64 deep"},
		{"row of anchors", "a: &x &y 1", "bad_json|line 1|anchor follows an anchor"},
		{"tag", "a: !!int 1", "bad_json|line 1|tags"},
		{"merge key", "a: &x {b: 1}\nc:\n  <<: *x", "bad_json|line 3|merge key"},
		{"directive", "%YAML 1.2\n---\na: 1", "bad_json|line 1|directives"},
		{"two documents", "a: 1\n---\nb: 2", "bad_json|line 3|second YAML document"},
		{"unknown alias", "a: *x", "bad_json|line 1|no anchor"},
		{"alias within itself", "a: &x [*x]", "bad_json|line 1|within its own anchor"},
		{"broken YAML", "a: 1\nb: [", "bad_json|line 2|YAML"},
		{"alias bomb", "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n" +
			"d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f,*f,*f]\n",
			"too_large|line 1|aliases expanded"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			checkFaults(t, faultsOf(t, []byte(tt.body), Options{}), []string{tt.want})
		})
	}
}

func TestYAMLValues(t *testing.T) {
	body := "a: &x [1, 0x1F, 0o17, 0b11, +5, .5, 5., -0x1, 1e3, 1_000, 010, 1.50]\n" +
		"b: *x\nc: [no, yes, true, False, null, ~, '', \"1\", '\\n']\nd:\n1: x\ntrue: y\n\"q\": |\n  two\n  lines\ne: >\n  folded\n  text\n"
	var faults faultList
	v, ok := decode([]byte(body), &faults)
	if !ok || faults.err() != nil {
		t.Fatal(faults.err())
	}
	const numbers = `[1,31,15,3,5,0.5,5,-1,1e3,"1_000","010",1.50]`
	want := `{"1":"x","a":` + numbers + `,"b":` + numbers + `,"c":["no","yes",true,false,null,null,"","1","\\n"],"d":null,"e":"folded text\n","q":"two\nlines\n","true":"y"}`
	if diff := cmp.Diff(want, string(appendValue(nil, v))); diff != "" {
		t.Error(diff)
	}
}

func TestNumbersThatJSONCannotHold(t *testing.T) {
	for _, body := range []string{"a: .inf", "a: .nan", "a: 1e400", "a: [-1e999]", `{"a": 1e400}`} {
		faults := faultsOf(t, []byte(body), Options{})
		if f := faults[0]; f.Code != CodeBadField || f.Place != "line 1" {
			t.Errorf("%s: %+v", body, f)
		}
		if len(faults) < 2 {
			t.Errorf("%s: the number hides the other faults", body)
		}
	}
}

// The reader of JSON accepts what the standard library accepts, but for what
// it refuses on purpose, and understands the same by it.
func TestJSONAgreesWithStandardLibrary(t *testing.T) {
	piece := rapid.SampledFrom([]string{"{", "}", "[", "]", ",", ":", `"a"`, `"b\n\u00e9"`, "1", "-0.5e+1", "true", "null", " ", "\n", `"`, "x"})
	rapid.Check(t, func(t *rapid.T) {
		body := strings.Join(rapid.SliceOfN(piece, 1, 12).Draw(t, "pieces"), "")
		var faults faultList
		v, ok := decodeJSON([]byte(body), &faults)
		if ok != json.Valid([]byte(body)) {
			t.Fatalf("%s: accepted %v, %v", body, ok, faults.err())
		}
		if !ok || faults.err() != nil {
			return
		}
		var want, got any
		if err := json.Unmarshal([]byte(body), &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(appendValue(nil, v), &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestStringsSurvive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "text")
		var faults faultList
		v, ok := decodeJSON(appendString(nil, s), &faults)
		if !ok || v.str != s {
			t.Fatalf("%q became %q, %v", s, v.str, faults.err())
		}
	})
}
