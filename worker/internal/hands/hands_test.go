package hands_test

import (
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tradingflow/weather-station/worker/internal/hands"
)

// TestEachRunsOnce, at the same time as all others, whatever becomes of the goroutine.
func TestEachRunsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p hands.Pool
		var ran atomic.Int64
		for range 100 {
			var together sync.WaitGroup
			together.Add(8)
			for i := range 8 {
				p.Go(func() {
					ran.Add(1)
					together.Done()
					together.Wait()
					if i%3 == 0 {
						runtime.Goexit()
					}
				})
			}
			if synctest.Wait(); int(ran.Load())%8 != 0 {
				t.Fatalf("%d ran", ran.Load())
			}
		}
		if ran.Load() != 800 {
			t.Errorf("%d ran, of 800", ran.Load())
		}
		p.Close() // all goroutines end, or the bubble does not
	})
}

// TestUsedAgain: work that comes one after the other has one goroutine.
func TestUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p hands.Pool
		defer p.Close()
		for range 100 {
			p.Go(func() {})
			synctest.Wait()
		}
		if n := goroutines(); n != 1 {
			t.Errorf("%d goroutines wait", n)
		}
	})
}

// goroutines counts those of pools. Others come and go while a test runs.
func goroutines() int {
	all := make([]byte, 1<<20)
	return strings.Count(string(all[:runtime.Stack(all, true)]), "hands.(*Pool).Go.func1(")
}

// TestGivenBack: after a rush as many stay as are still needed, and none at rest.
func TestGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p hands.Pool
		defer p.Close()
		rush := func(n int) {
			release := make(chan struct{})
			for range n {
				p.Go(func() { <-release })
			}
			synctest.Wait()
			close(release)
			synctest.Wait()
		}
		rush(20)
		for range 30 {
			time.Sleep(time.Second)
			rush(3)
		}
		if n := goroutines(); n != 3 {
			t.Errorf("%d goroutines wait where three are needed", n)
		}
		time.Sleep(21 * time.Second)
		synctest.Wait()
		if n := goroutines(); n != 0 {
			t.Errorf("%d goroutines wait at rest", n)
		}
		rush(2)
	})
}

// TestClosed: what works goes on after Close and ends with its work; what comes later runs.
func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p hands.Pool
		stop, ran := make(chan struct{}), 0
		p.Go(func() { <-stop; ran++ })
		synctest.Wait()
		p.Close()
		close(stop)
		synctest.Wait()
		p.Go(func() { ran++ })
		synctest.Wait()
		if ran != 2 {
			t.Errorf("%d of 2 ran", ran)
		}
	})
}

func BenchmarkGo(b *testing.B) {
	deep := func(wait *sync.WaitGroup) func() { return func() { defer wait.Done(); stack(64) } }
	b.Run("pool", func(b *testing.B) {
		var p hands.Pool
		defer p.Close()
		for b.Loop() {
			var wait sync.WaitGroup
			wait.Add(1)
			p.Go(deep(&wait))
			wait.Wait()
		}
	})
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			var wait sync.WaitGroup
			wait.Add(1)
			go deep(&wait)()
			wait.Wait()
		}
	})
}

// stack uses n frames of some bytes.
//
//go:noinline
func stack(n int) byte {
	var room [64]byte
	if n == 0 {
		return room[0]
	}
	room[n%64] = stack(n - 1)
	return room[(n+1)%64]
}
