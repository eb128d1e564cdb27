package controlplane

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/poolhouse/poolhouse/sandbox/account"
	"github.com/poolhouse/poolhouse/sandbox/eks"
	"github.com/poolhouse/poolhouse/sandbox/wire"
)

// login answers as whom a node signs in to ECR, if its role may.
func (c *Clusters) login(w http.ResponseWriter, r *http.Request) {
	who := c.caller(w, r)
	if who == nil {
		return
	}
	var in struct{ Node string }
	const most = 4 << 10
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, most)).Decode(&in); err != nil || in.Node == "" {
		http.Error(w, "the name of a node is needed", http.StatusBadRequest)
		return
	}
	user, password, err := c.signIn(r, who.cluster, in.Node)
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	// The control plane may be gone.
	_ = json.NewEncoder(w).Encode(map[string]string{"user": user, "password": password})
}

// signIn gets an authorization token as a node, by the role of its group.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/ECR_on_EKS.html
func (c *Clusters) signIn(r *http.Request, cluster, node string) (user, password string, err error) {
	if c.opts.Call == nil {
		return "", "", errors.New("there is no registry")
	}
	var by wire.Credential
	known := false
	err = c.opts.Account.Do(func(tx *account.Tx) error {
		tx.Reads()
		by, known = eks.NodePrincipal(tx, cluster, node)
		return nil
	})
	if err != nil {
		return "", "", err
	}
	if !known {
		return "", "", fmt.Errorf("cluster %s has no node %s", cluster, node)
	}
	answer, err := c.opts.Call(r, by, "ecr", "GetAuthorizationToken", map[string]any{}, nil)
	if refused, ok := errors.AsType[*account.Error](err); ok {
		return "", "", fmt.Errorf("ecr:GetAuthorizationToken: %s: %s", refused.Code, refused.Message)
	}
	if err != nil {
		return "", "", err
	}
	var out struct {
		AuthorizationData []struct{ AuthorizationToken string }
	}
	if err := json.Unmarshal(answer.Body, &out); err != nil || len(out.AuthorizationData) != 1 {
		return "", "", errors.Join(errors.New("ECR gives no token"), err)
	}
	pair, err := base64.StdEncoding.DecodeString(out.AuthorizationData[0].AuthorizationToken)
	user, password, ok := strings.Cut(string(pair), ":")
	if err != nil || !ok {
		return "", "", errors.Join(errors.New("ECR's token is none"), err)
	}
	return user, password, nil
}
