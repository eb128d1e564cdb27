package entrance_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkLoad asks a load balancer for a signed-in user's page 500 times a
// second, over the proxy and TLS, on 32 connections, and reports the 50th and the
// 99th percentile of the time to the end of the answer, from when the request was
// due. An iteration is a request.
func BenchmarkLoad(b *testing.B) {
	local := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(make([]byte, 4<<10)) }))
	defer local.Close()
	idpServer := httptest.NewServer(provider(b))
	defer idpServer.Close()
	_, e, client, _ := served(b, local.Listener.Addr().String(), idpServer.Listener.Addr().String())
	defer func() {
		if err := e.Close(); err != nil {
			b.Error(err)
		}
	}()
	transport := client.Transport.(*http.Transport)
	transport.MaxIdleConnsPerHost = 64
	ask := func() {
		resp, err := client.Get("https://" + host + "/")
		if err != nil {
			b.Error(err)
			return
		}
		defer resp.Body.Close()
		n := 0
		buf := make([]byte, 8<<10)
		for {
			m, err := resp.Body.Read(buf)
			n += m
			if err != nil {
				break
			}
		}
		if resp.StatusCode != http.StatusOK || n != 4<<10 {
			b.Errorf("%s with %d bytes", resp.Status, n)
		}
	}
	ask() // signs in
	const workers, rate = 32, 500
	due := make(chan time.Time, b.N)
	took := make([][]time.Duration, workers)
	var working sync.WaitGroup
	for i := range workers {
		working.Go(func() {
			ask() // opens its connection
			for at := range due {
				time.Sleep(time.Until(at))
				ask()
				took[i] = append(took[i], time.Since(at))
			}
		})
	}
	b.ResetTimer()
	began := time.Now().Add(100 * time.Millisecond)
	for i := range b.N {
		due <- began.Add(time.Duration(i) * time.Second / rate)
	}
	close(due)
	working.Wait()
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
}
