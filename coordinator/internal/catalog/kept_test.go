package catalog

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/tradingflow/weather-station/shared/ids"
)

func TestKeepLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := func(what string) time.Time { return time.UnixMilli(rapid.Int64Range(0, 1<<42).Draw(t, what)) }
		r := Record{Flow: ids.FlowID(rapid.StringMatching(`[a-z]{1,20}`).Draw(t, "flow")), UID: uuid.New(), Revision: rapid.Int64Range(1, 1<<40).Draw(t, "revision"),
			AllowUnknown: rapid.Bool().Draw(t, "allow"), Anchor: at("anchor"), CreatedAt: at("created"), UpdatedAt: at("updated")}
		doc, err := json.Marshal(rapid.MapOf(rapid.String(), rapid.SliceOf(rapid.String())).Draw(t, "document"))
		if err != nil {
			t.Fatal(err)
		}
		r.Document = doc
		if d := cmp.Diff(r, Keep(r).Record()); d != "" {
			t.Errorf("kept (-want +got):\n%s", d)
		}
	})
}

// BenchmarkKeep tells what memory a small flow's document takes.
func BenchmarkKeep(b *testing.B) {
	r := Record{Flow: "btc-momentum", Document: []byte(`{"flow_id":"btc-momentum","name":"BTC momentum","schedule_type":"periodic","interval_seconds":60,"overlap":"skip","catchup":"latest","catchup_window":"10m","cycle_timeout":"30s","on_failure":"fail_cycle","nodes":[{"id":"price","type":"http","parameters":{"url":"https://exchange.example.com/ticker?pair=BTCUSD"},"timeout":"5s"},{"id":"signal","type":"condition","parameters":{"expression":"price.close > price.open * 1.01"}},{"id":"order","type":"place_order","parameters":{"symbol":"BTC-USD","side":"buy","size":0.25},"delivery":"at_most_once"}],"edges":[{"source":"price","source_handle":"close","target":"signal","target_handle":"price"},{"source":"signal","source_handle":"true","target":"order","target_handle":"go"}]}`)}
	b.ReportAllocs()
	b.ReportMetric(float64(len(Keep(r).packed))/float64(len(r.Document)), "packed/plain")
	for b.Loop() {
		Keep(r).Document()
	}
}
