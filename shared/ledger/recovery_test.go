package ledger

import (
	"testing"

	"github.com/google/uuid"

	"github.com/tradingflow/weather-station/shared/ids"
)

// TestWhereThingsComeFrom: what leaders and catalogs note of the servers' pasts.
func TestWhereThingsComeFrom(t *testing.T) {
	onBoth(t, func(t *testing.T, l *Ledger) {
		ctx := t.Context()
		setScene(t, l)
		if o := must(l.Origin(ctx)); o != (Origin{}) {
			t.Errorf("origin %+v of a new ledger", o)
		}
		want := Origin{ID: uuid.NewString(), Revision: 1 << 40, Term: 7}
		if err := l.SetOrigin(ctx, want); err != nil {
			t.Fatal(err)
		}
		if got := must(l.Origin(ctx)); got != want {
			t.Errorf("origin %+v, want %+v", got, want)
		}
		if run := must(l.Heeded(ctx)); run != "" {
			t.Errorf("run %q is known to a new ledger", run)
		}
		if err := l.Heed(ctx, "abc"); err != nil {
			t.Fatal(err)
		}
		if run := must(l.Heeded(ctx)); run != "abc" {
			t.Errorf("run %q", run)
		}
		if doc := must(l.Document(ctx, "f")); string(doc) != "{}" {
			t.Errorf("document %q", doc)
		}
		if doc := must(l.Document(ctx, "nowhere")); doc != nil {
			t.Errorf("document %q of no flow", doc)
		}
		if high := must(l.Epoch(ctx)); high != ids.Epoch(10) {
			t.Errorf("epoch %d", high)
		}
	})
}
