// Package flow turns flow documents into checked flows and plans. It is pure:
// a document goes in, a Flow or a complete list of faults comes out.
//
// # Spellings
//
// A document is JSON or YAML and an object. Clients spell it in several ways,
// and the parts may be mixed:
//
//   - the graph at the top as nodes and edges, or within flow_json;
//   - the interval as interval_seconds, interval or cycle_interval, or beside the
//     document (Options.Interval). Several must agree;
//   - a node's settings as parameters, as config, or as the editor's data.inputs, a
//     list of {id, value}. Where parameters or config stands, data is not looked at;
//   - handles as source_handle and target_handle, or sourceHandle and targetHandle.
//
// config.node_class_type repeats the node's type. It is dropped when it says the
// same as the type, since node types refuse settings they do not know, and kept
// when it says something else. A null counts as an absent field.
//
// # Intervals
//
// A number with a unit (250ms, 1.5s, "5 m", 1h30m, 1d) or a number of seconds (60,
// "60", 0.25), from 100 ms to 366 days in whole milliseconds. 0, "once" and "manual"
// mean a flow without a schedule. Units are lower case; 5M, 1w and signs are
// refused. A document without any interval is refused, but for schedule_type
// periodic outside flow_json, which means 60 s.
//
// # Canonical form
//
// Canonical gives JSON with one order of fields, sorted keys within parameters
// and unknown fields, and numbers as they were written. The schedule is written
// in full; nodes and edges leave defaults out, because 50,000 edges with all
// fields would not fit into MaxBody. Unknown fields of the document, of nodes and
// of edges are kept, those of flow_json under that name. What data.inputs held as
// values is found in parameters only, so that it cannot go stale in two places.
// Parsing the canonical form gives the same flow again.
//
// # YAML
//
// The JSON subset of YAML is meant: tags, merge keys and directives are refused,
// anchors and aliases are expanded within MaxValues. Plain words such as no, on and
// 2026-01-01 are strings, and so are numbers with leading zeros. A body that
// begins with a brace or a bracket is read as JSON only, so that broken JSON is
// reported as such. YAML has limits of its own, MaxYAML and MaxYAMLKeys, since its
// parser needs far more time and memory.
//
// # Faults
//
// What is wrong is reported all at once, as far as it can be seen: text that
// cannot be read ends the search, and so does a limit on the document as a whole;
// everything else does not hide its neighbours. Duplicate keys are faults, since
// readers differ in which of the two they take. Numbers that do not fit a double,
// and half surrogate pairs, are faults for the same reason. No message repeats
// more than 64 bytes of the document.
package flow
