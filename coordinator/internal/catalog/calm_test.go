package catalog

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tradingflow/weather-station/shared/ids"
)

// TestAFirstLoadOfVeryManyFlowsWaits once, with some flows loaded, and goes on to the end.
func TestAFirstLoadOfVeryManyFlowsWaits(t *testing.T) {
	for flows, waits := range map[int]int32{1900: 0, 2500: 1} {
		t.Run(fmt.Sprint(flows), func(t *testing.T) {
			c := connect(t)
			p := prefix(t, c)
			writer := follow(t, open(t, c, p))
			ctx := background(t)
			rec, _, err := writer.Put(ctx, "f", want("{}"))
			if err != nil {
				t.Fatal(err)
			}
			var ops []clientv3.Op
			for i := range flows {
				rec.Flow = ids.FlowID(fmt.Sprintf("f-%04d", i))
				val, _, _, err := encode(rec, nil)
				if err != nil {
					t.Fatal(err)
				}
				if ops = append(ops, clientv3.OpPut(writer.flowKey(rec.Flow), string(val))); len(ops) == 100 {
					if _, err := c.Txn(ctx).Then(ops...).Commit(); err != nil {
						t.Fatal(err)
					}
					ops = nil
				}
			}
			var called atomic.Int32
			var cat *Catalog
			cat, err = New(Config{Client: c, Prefix: p, Calm: func(ctx context.Context) {
				called.Add(1)
				for some := false; !some && ctx.Err() == nil; { // the page before is worked on meanwhile
					_, some = cat.Get("f-0030")
					wait(ctx, time.Millisecond)
				}
				select {
				case <-cat.Synced():
					t.Error("the load has not waited")
				default:
				}
				if _, last := cat.Get("f-0100"); last {
					t.Error("more than a page is loaded already")
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			follow(t, cat)
			if n := len(cat.List()); n != flows+1 || called.Load() != waits {
				t.Errorf("%d flows are loaded, and the load waited %d times", n, called.Load())
			}
			if _, err := cat.load(ctx); err != nil || called.Load() != waits {
				t.Errorf("a second load: %v, it waited %d times in all", err, called.Load())
			}
		})
	}
}
