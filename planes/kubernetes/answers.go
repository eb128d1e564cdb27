package kubernetes

import (
	"context"
	"fmt"
	"os"

	"k8s.io/client-go/kubernetes"

	"github.com/poolhouse/poolhouse/planes/kubernetes/network"
	"github.com/poolhouse/poolhouse/planes/kubernetes/services"
)

// domain is that of a cluster's names, EKS's own.
const domain = "cluster.local"

// answer has pods be answered at the addresses of services and by the cluster's DNS
// until the context ends; it returns once DNS answers. Api is where the service
// kubernetes leads. What ends the answers before is given to failed. Nothing is
// answered any more once done is closed, which is nil where no pod runs.
func (p *pods) answer(ctx context.Context, client kubernetes.Interface, c Config, api string, failed func(error)) (done <-chan struct{}, err error) {
	if p.processes == nil {
		return nil, nil
	}
	at, err := c.dns()
	if err != nil {
		return nil, err
	}
	ready, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		o := network.Options{Pods: p.processes, DNS: at, Domain: domain, Outside: network.AWS{At: c.Pods.Names, Databases: c.Pods.Databases}}
		err := services.Serve(ctx, client, api, o, ready, func(err error) {
			fmt.Fprintf(os.Stderr, "services are not all answered: %v\n", err)
		})
		if err != nil && ctx.Err() == nil {
			failed(fmt.Errorf("answer for services: %w", err))
		}
	}()
	select {
	case <-ready:
	case <-ended:
	}
	return ended, nil
}
