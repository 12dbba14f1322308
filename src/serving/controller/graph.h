// InferenceGraphs: a request walks through nodes of steps (Sequence, Splitter, Ensemble, Switch), each a call of a
// service or another node. Ownership: a Graph is immutable once parsed and shared by requests. Thread safe; run() stays
// on its loop.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kube/object.h"
#include "serving/controller/gjson.h"
#include "task/task.h"

namespace mr::serving {

struct GraphAnswer {
  int status = 200;
  std::string body;
};
// POSTs a body to a URL with the headers that the request came with. Errors: the service cannot be reached.
using GraphCall = std::function<task::Task<Result<GraphAnswer>>(std::string url, std::string body)>;

class Graph {
 public:
  // From {"nodes": {...}}: an InferenceGraph's spec, service names resolved to serviceUrl. Errors name the node and
  // what is wrong: no root, an unknown router type, weights that are not 100 together, a cycle, a condition that is not
  // understood.
  static Result<Graph> parse(const kube::Object& spec);
  // Walks from the root. `draw` in [0, 100) picks a splitter's branch; called once for each splitter met.
  task::Task<GraphAnswer> run(std::string body, GraphCall call, std::function<int()> draw) const;

  enum class Router : std::uint8_t { sequence, splitter, ensemble, choice };
  struct Step {
    std::string name, node, url, data;
    int weight = 0;
    std::optional<JsonPath> condition;
    bool hard = false, to_instances = false;
  };
  struct Node {
    Router router = Router::sequence;
    std::vector<Step> steps;
  };

 private:
  std::shared_ptr<const std::map<std::string, Node, std::less<>>> nodes_;
};

}  // namespace mr::serving
