// Command poolhouse-pods runs the processes of the pods of poolhouse-plane-kubernetes,
// which starts it.
package main

import (
	"os"

	"github.com/poolhouse/poolhouse/planes/kubernetes/process/agent"
)

func main() { os.Exit(agent.Main(os.Args[1:])) }
