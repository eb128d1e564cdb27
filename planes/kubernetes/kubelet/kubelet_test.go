package kubelet

import (
	"reflect"
	"testing"
	"time"

	"k8s.io/kubernetes/pkg/kubelet"
	"k8s.io/kubernetes/pkg/kubelet/prober"
)

// TestSettle: a kubelet counts as running for long, so that no probe waits for chance; one
// that is built otherwise is refused.
func TestSettle(t *testing.T) {
	t.Parallel()
	k := &kubelet.Kubelet{}
	if err := settle(k); err == nil {
		t.Error("a kubelet without probes is settled")
	}
	probes := prober.NewManager(nil, nil, nil, nil, nil, nil)
	field := reflect.ValueOf(k).Elem().FieldByName("probeManager")
	reflect.NewAt(field.Type(), field.Addr().UnsafePointer()).Elem().Set(reflect.ValueOf(probes))
	if err := settle(k); err != nil {
		t.Fatal(err)
	}
	start := reflect.ValueOf(probes).Elem().FieldByName("start")
	if since := time.Since(*(*time.Time)(start.Addr().UnsafePointer())); since < settled {
		t.Errorf("its probes began %v ago", since)
	}
}
