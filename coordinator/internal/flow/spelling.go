package flow

// located is where a document keeps its parts, whatever its spelling.
type located struct {
	root    *fields
	nodes   *value // nil = absent
	edges   *value
	prefix  string // of the paths of nodes and edges
	execute bool   // the spelling of an execute body, flow_json
}

// locate finds the graph: at the top, or in flow_json. What flow_json holds
// beside nodes and edges is kept as unknown field flow_json; a document in
// canonical form may therefore have one as well, without a graph in it.
func (r *reader) locate(root value) located {
	l := located{root: r.fieldsOf(root, place{index: -1})}
	inner := root.get("flow_json")
	if !l.root.has("flow_json") || l.root.has("nodes") && !hasGraph(inner) {
		l.nodes, _ = l.root.take("nodes")
		l.edges, _ = l.root.take("edges")
		return l
	}
	l.execute, l.prefix = true, "flow_json."
	l.root.take("flow_json")
	if l.root.has("nodes") || l.root.has("edges") {
		r.faults.add(CodeBadShape, "flow_json", "the graph stands both here and at the top of the document; leave one of them out")
	}
	if inner.kind != object {
		r.faults.add(CodeBadShape, "flow_json", "is %s; an object with nodes and edges is expected", inner.kind)
		r.graphless = true
		return l
	}
	f := r.fieldsOf(*inner, place{path: "flow_json", index: -1})
	l.nodes, _ = f.take("nodes")
	l.edges, _ = f.take("edges")
	if rest := f.rest(); len(rest) > 0 {
		r.extra = append(r.extra, member{key: "flow_json", val: value{kind: object, kids: rest}})
	}
	return l
}

func hasGraph(v *value) bool { return v.get("nodes") != nil || v.get("edges") != nil }

// parameters returns a node's settings in canonical JSON, whichever way they
// are spelled: parameters, config, or the editor's data.inputs, a list of
// {id, value}. An editor's data is kept as an unknown field without those
// values, so that they stand in one place only.
//
// node_class_type repeats the node's type in what clients of the original
// send. Where it says the same it is dropped, since node types refuse settings
// they do not know; where it differs it is kept.
func (r *reader) parameters(f *fields, nodeType string) []byte {
	v, name := f.take("parameters", "config")
	if v == nil {
		v, name = r.editorInputs(f)
	}
	if v == nil {
		return []byte("{}")
	}
	if v.kind != object {
		f.fault(CodeBadShape, name, "is %s; an object is expected", v.kind)
		return []byte("{}")
	}
	settings := value{kind: object, kids: v.kids}
	for i, k := range v.kids {
		if k.key == "node_class_type" && k.val.kind == text && k.val.str == nodeType {
			settings.kids = append(append([]member(nil), v.kids[:i]...), v.kids[i+1:]...)
			break
		}
	}
	out := appendValue(nil, settings)
	if len(out) > MaxParameters {
		f.fault(CodeTooLarge, name, "has %d bytes; at most %d are allowed", len(out), MaxParameters)
	}
	return out
}

// editorInputs collects data.inputs into an object, or returns nil when the
// node has none.
func (r *reader) editorInputs(f *fields) (*value, string) {
	const name = "data.inputs"
	var data *value
	for i := range f.kids {
		if f.kids[i].key == "data" {
			data = &f.kids[i].val
		}
	}
	if data == nil || data.get("inputs") == nil || data.get("inputs").kind == null {
		return nil, ""
	}
	inputs := data.get("inputs")
	if inputs.kind != list {
		f.fault(CodeBadShape, name, "is %s; a list is expected", inputs.kind)
		return nil, ""
	}
	settings := value{kind: object}
	seen := map[string]bool{}
	kept := value{kind: list, kids: make([]member, len(inputs.kids))}
	for i := range inputs.kids {
		item := r.fieldsOf(inputs.kids[i].val, place{path: f.place.field(name), index: i})
		if inputs.kids[i].val.kind != object {
			r.faults.add(CodeBadShape, item.place.String(), "is %s; an object with id and value is expected", inputs.kids[i].val.kind)
			continue
		}
		set := inputs.kids[i].val.get("value")
		item.takeKey("value")
		kept.kids[i].val = value{kind: object, kids: item.rest()}
		id := inputs.kids[i].val.get("id")
		switch {
		case id == nil || id.kind != text || id.str == "":
			r.faults.add(CodeBadField, item.place.field("id"), "is missing or no string; each input names a setting")
			continue
		case seen[id.str]:
			r.faults.add(CodeBadField, item.place.field("id"), "%q names a setting a second time", clip(id.str))
			continue
		}
		seen[id.str] = true
		if set != nil {
			settings.kids = append(settings.kids, member{key: id.str, val: *set})
		}
	}
	f.replace("data", withMember(*data, "inputs", kept))
	return &settings, name
}

// takeKey takes a member whatever its value, null included.
func (f *fields) takeKey(key string) {
	for i := range f.kids {
		if f.kids[i].key == key {
			f.taken[i] = true
		}
	}
}

// replace puts another value in place of a member that is kept.
func (f *fields) replace(key string, v value) {
	f.kids = withMember(value{kids: f.kids}, key, v).kids
}

func withMember(v value, key string, to value) value {
	v.kids = append([]member(nil), v.kids...)
	for i := range v.kids {
		if v.kids[i].key == key {
			v.kids[i].val = to
		}
	}
	return v
}
