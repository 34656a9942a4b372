package ledger

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// TestPackAtTheSameTime: compressors that are used again mix nothing up.
func TestPackAtTheSameTime(t *testing.T) {
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 50 {
				want := strings.Repeat(fmt.Sprintf("%d of %d;", i, g), 100)
				b, err := pack(want)
				if err != nil {
					t.Error(err)
					return
				}
				var got string
				if err := unpack(bytes.Clone(b), &got); err != nil || got != want {
					t.Errorf("%d of %d: %v", i, g, err)
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkPack(b *testing.B) {
	v := map[string]string{"a": strings.Repeat("some value ", 40)}
	for b.Loop() {
		if _, err := pack(v); err != nil {
			b.Fatal(err)
		}
	}
}
