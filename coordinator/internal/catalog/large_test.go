package catalog

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// largest makes a document of 10,000 nodes and 50,000 edges with ids by name.
func largest(t testing.TB, seed uint64, name func(i int, r *rand.Rand) string) string {
	t.Helper()
	type node struct {
		ID         string         `json:"id"`
		Type       string         `json:"type"`
		Parameters map[string]any `json:"parameters"`
	}
	type edge struct {
		Source       string `json:"source"`
		SourceHandle string `json:"source_handle"`
		Target       string `json:"target"`
		TargetHandle string `json:"target_handle"`
	}
	r := rand.New(rand.NewPCG(seed, 1))
	var doc struct {
		Nodes []node `json:"nodes"`
		Edges []edge `json:"edges"`
	}
	for i := range 10_000 {
		doc.Nodes = append(doc.Nodes, node{name(i, r), "transform", map[string]any{"expression": fmt.Sprintf("x * %d", r.IntN(1e6))}})
	}
	for range 50_000 {
		a := r.IntN(len(doc.Nodes) - 1)
		b := a + 1 + r.IntN(len(doc.Nodes)-a-1)
		doc.Edges = append(doc.Edges, edge{doc.Nodes[a].ID, "value", doc.Nodes[b].ID, "value"})
	}
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func shortName(i int, _ *rand.Rand) string { return fmt.Sprintf("n%d", i) }

func randomName(_ int, r *rand.Rand) string {
	b := make([]byte, 16)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return uuid.Must(uuid.FromBytes(b)).String()
}

// incompressible makes a JSON string of about n bytes that gzip shrinks little.
func incompressible(n int) string {
	b := make([]byte, n*3/4)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return `"` + base64.StdEncoding.EncodeToString(b) + `"`
}

func chunkKeys(t *testing.T, cat *Catalog) int64 {
	t.Helper()
	resp, err := cat.client.Get(background(t), cat.prefix+"/chunks/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return resp.Count
}

func TestLargestDocuments(t *testing.T) {
	c := connect(t)
	p := prefix(t, c)
	a, b := follow(t, open(t, c, p)), follow(t, open(t, c, p))
	sub := b.Subscribe()
	defer sub.Close()
	for seed, tc := range []struct {
		name    string
		id      func(int, *rand.Rand) string
		chunked bool
	}{
		{"short ids", shortName, false},
		{"random ids", randomName, true},
	} {
		doc := largest(t, uint64(seed), tc.id)
		rec, changed, err := a.Put(background(t), "f", want(doc))
		if err != nil || !changed {
			t.Fatalf("%s: put: %v %v", tc.name, changed, err)
		}
		n := chunkKeys(t, a)
		t.Logf("%s: document %d bytes, chunks %d", tc.name, len(doc), n)
		if (n > 1) != tc.chunked || n == 1 {
			t.Errorf("%s: %d chunk keys", tc.name, n)
		}
		until(t, sub, tc.name+" is seen elsewhere", func() bool { got, ok := b.Get("f"); return ok && got.Revision == rec.Revision })
		if got, _ := b.Get("f"); !bytes.Equal(got.Document(), []byte(doc)) {
			t.Errorf("%s: the document came back changed", tc.name)
		}
		if got, err := b.GetFresh(background(t), "f"); err != nil || got.UID != rec.UID || !bytes.Equal(got.Document, rec.Document) {
			t.Errorf("%s: GetFresh: %v", tc.name, err)
		}
	}
	// A small successor takes the chunks away, a deletion too.
	if _, _, err := a.Put(background(t), "f", want("{}")); err != nil {
		t.Fatal(err)
	}
	if n := chunkKeys(t, a); n != 0 {
		t.Errorf("%d chunk keys outlive their record", n)
	}
	if _, _, err := a.Put(background(t), "f", want(incompressible(2<<20))); err != nil {
		t.Fatal(err)
	}
	if n := chunkKeys(t, a); n < 2 {
		t.Errorf("%d chunk keys", n)
	}
	if _, err := a.Delete(background(t), "f"); err != nil {
		t.Fatal(err)
	}
	if n := chunkKeys(t, a); n != 0 {
		t.Errorf("%d chunk keys outlive their flow", n)
	}
}

// A chunked record that lost its race leaves nothing behind, and one whose
// chunks are gone counts as unreadable.
func TestChunksOfLosers(t *testing.T) {
	c := connect(t)
	p := prefix(t, c)
	cat := open(t, c, p)
	ctx := background(t)
	raced := false
	doc := incompressible(2 << 20)
	_, _, err := cat.Put(ctx, "f", func(*Record) (Record, error) {
		if !raced {
			raced = true
			if _, _, err := cat.Put(ctx, "f", want("{}")); err != nil {
				return Record{}, err
			}
		}
		return Record{Document: json.RawMessage(doc)}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := cat.GetFresh(ctx, "f")
	if err != nil || rec.Revision != 2 || string(rec.Document) != doc {
		t.Fatalf("revision %d, %v", rec.Revision, err)
	}
	_, set, _, err := encode(rec, uuid.New)
	if err != nil || set == nil {
		t.Fatalf("encode: %v %v", set, err)
	}
	if n := chunkKeys(t, cat); n != int64(set.Count) {
		t.Errorf("%d chunk keys; the winner has %d", n, set.Count)
	}
	if _, err := c.Delete(ctx, p+"/chunks/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	if _, err := cat.GetFresh(ctx, "f"); err == nil {
		t.Error("a record without its chunks is read")
	}
	if _, changed, err := cat.Put(ctx, "f", want("{}")); err != nil || !changed {
		t.Errorf("put over a record without chunks: %v %v", changed, err)
	}
}

func FuzzDecode(f *testing.F) {
	val, _, _, err := encode(Record{Flow: "f", UID: uuid.New(), Revision: 1, Document: json.RawMessage(`{"a":1}`)}, uuid.New)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(val)
	packed, err := pack(bytes.Repeat([]byte(" "), 4096))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Add([]byte(`{"flow":"f","chunks":{"count":-1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decode("f", data)
		if err != nil {
			return
		}
		if s.Flow != "f" || s.Revision < 1 || s.UID == uuid.Nil {
			t.Errorf("accepted %+v", s)
		}
	})
}
