package server_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/poolhouse/poolhouse/internal/testkit/server"
)

func TestBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b server.Busy
		b.Wait()
		one := b.Begin()
		var waited atomic.Int32
		for range 2 {
			go func() {
				b.Wait()
				waited.Add(1)
			}()
			synctest.Wait()
		}
		two := b.Begin()
		one()
		synctest.Wait()
		if waited.Load() > 0 {
			t.Error("one is still at work")
		}
		two()
		synctest.Wait()
		if n := waited.Load(); n != 2 {
			t.Errorf("%d of 2 have waited", n)
		}
		b.Wait()
	})
}
