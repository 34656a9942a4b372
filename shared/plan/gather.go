package plan

import "encoding/json"

// Gather turns the values that edges brought into a node's inputs, by target
// handle: one edge gives its value; several into one handle give a list in the
// document's order, or, with aggregate merge, one object: objects among the
// values are merged key by key in that order, other values stand under their
// source handle's name. An edge without a value leaves nothing. value returns
// nil for an edge that brought none; values are JSON and 0, false, "" and null
// are values like any other.
func Gather(n *Node, value func(Input) json.RawMessage) map[string]json.RawMessage {
	type arrival struct {
		handle string
		value  json.RawMessage
	}
	arrived := map[string][]arrival{}
	edges := map[string]int{}
	for _, in := range n.Inputs {
		edges[in.TargetHandle]++
		if v := value(in); v != nil {
			arrived[in.TargetHandle] = append(arrived[in.TargetHandle], arrival{in.SourceHandle, v})
		}
	}
	out := make(map[string]json.RawMessage, len(arrived))
	for handle, values := range arrived {
		switch {
		case edges[handle] == 1:
			out[handle] = values[0].value
		case n.Aggregate == AggregateMerge:
			merged := map[string]json.RawMessage{}
			for _, v := range values {
				var object map[string]json.RawMessage
				if json.Unmarshal(v.value, &object) == nil && object != nil {
					for k, x := range object {
						merged[k] = x
					}
				} else {
					merged[v.handle] = v.value
				}
			}
			b, err := json.Marshal(merged)
			if err == nil { // values are JSON already
				out[handle] = b
			}
		default:
			list := make([]json.RawMessage, len(values))
			for i, v := range values {
				list[i] = v.value
			}
			if b, err := json.Marshal(list); err == nil {
				out[handle] = b
			}
		}
	}
	return out
}
