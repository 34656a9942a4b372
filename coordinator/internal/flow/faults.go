package flow

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Codes of faults. They are stable: clients decide by them.
const (
	CodeBadJSON         = "bad_json"          // cannot be read as JSON or YAML
	CodeMissingField    = "missing_field"     // a required field of the document is absent
	CodeBadShape        = "bad_shape"         // a list or an object is expected
	CodeNoNodes         = "no_nodes"          // nodes is absent or empty
	CodeBadNode         = "bad_node"          // a node lacks its id or type, or is no object
	CodeBadID           = "bad_id"            // an id breaks the rules for ids
	CodeBadField        = "bad_field"         // a field's value is not allowed
	CodeDuplicateNodeID = "duplicate_node_id" // two nodes have one id
	CodeDuplicateEdge   = "duplicate_edge"    // two edges have the same ends and handles
	CodeDuplicateKey    = "duplicate_key"     // an object has a key twice
	CodeUnknownNode     = "unknown_node"      // an edge ends at a node that is not there
	CodeUnknownNodeType = "unknown_node_type" // no worker runs this type
	CodeCycle           = "cycle"             // nodes wait for each other in a ring
	CodeNoEntryNode     = "no_entry_node"     // a component has no node to begin with
	CodeBadInterval     = "bad_interval"      // the interval cannot be read or is out of bounds
	CodeBadCron         = "bad_cron"          // the cron expression cannot be read or never fires
	CodeBadTimezone     = "bad_timezone"      // not an IANA timezone
	CodeBadExpression   = "bad_expression"    // a "when" expression does not compile
	CodeTooLarge        = "too_large"         // a limit on size, number or depth is passed
	CodeMoreFaults      = "more_faults"       // stands last: how many faults are not listed
)

// Fault is one thing that is wrong with a document.
type Fault struct {
	Code    string `json:"code"`
	Place   string `json:"place"` // nodes[3].id, edges[0].target, line 4; empty = the whole document
	Message string `json:"message"`
}

// Invalid is the error of a document that is refused. It lists its faults in
// the order in which they were found, at most MaxFaults of them and then one
// with CodeMoreFaults.
type Invalid struct {
	Faults []Fault
}

func (e *Invalid) Error() string {
	parts := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		parts[i] = f.Message
		if f.Place != "" {
			parts[i] = f.Place + ": " + f.Message
		}
	}
	return "invalid flow document: " + strings.Join(parts, "; ")
}

// faultList collects faults up to MaxFaults and counts the rest.
type faultList struct {
	faults []Fault
	more   int
}

func (l *faultList) add(code, place, format string, args ...any) {
	if len(l.faults) == MaxFaults {
		l.more++
		return
	}
	l.faults = append(l.faults, Fault{Code: code, Place: place, Message: fmt.Sprintf(format, args...)})
}

// err returns *Invalid, or nil when there is no fault.
func (l *faultList) err() error {
	if len(l.faults) == 0 {
		return nil
	}
	out := &Invalid{Faults: l.faults}
	if l.more > 0 {
		out.Faults = append(out.Faults, Fault{Code: CodeMoreFaults, Message: fmt.Sprintf("and %d more", l.more)})
	}
	return out
}

// clip shortens a text of the document for a message.
func clip(s string) string {
	const limit = 64
	if len(s) <= limit {
		return strings.ToValidUTF8(s, "?")
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strings.ToValidUTF8(s[:cut], "?") + "…"
}
