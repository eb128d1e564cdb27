package awsapi

import (
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/poolhouse/poolhouse/transfer"
)

// Watched are the same clients for calls that move many bytes: an attempt whose
// connection stands still is ended as [transfer.Do] has it, and repeated.
func (c *Clients) Watched() *Clients {
	cfg := c.cfg.Copy()
	cfg.HTTPClient = watched{cfg.HTTPClient}
	w := connect(cfg, c.Clock)
	w.gate = c.gate
	return w
}

type watched struct{ next aws.HTTPClient }

// Do implements [aws.HTTPClient].
func (w watched) Do(r *http.Request) (*http.Response, error) {
	return transfer.Do(r, answerTime, w.next.Do)
}
