#include "serving/controller/graph.h"

#include <fmt/format.h>

#include <set>

#include "json/parse.h"
#include "json/writer.h"
#include "task/event.h"
#include "text/text.h"

namespace mr::serving {

using kube::Object;
using kube::Value;

namespace {

using Nodes = std::map<std::string, Graph::Node, std::less<>>;
constexpr std::size_t kMaxNodes = 200;
constexpr std::size_t kMaxSteps = 100;

// A failure inside the router, as its handler answers it.
struct Outcome {
  GraphAnswer answer;
  bool error = false;
};
Outcome broken(int status, std::string_view text) {
  std::string body;
  json::Writer w(body);
  w.begin_object();
  w.field("error", text);
  w.end_object();
  return {{status, std::move(body)}, true};
}

bool good(int status) { return status >= 200 && status <= 299; }

struct Run {
  const Nodes& nodes;
  const GraphCall& call;
  const std::function<int()>& draw;

  task::Task<Outcome> step(const Graph::Step& s, std::string body) {
    if (!s.node.empty()) co_return co_await node(s.node, std::move(body));
    auto r = co_await call(s.url, std::move(body));
    if (!r) co_return broken(500, fmt::format("{}: {}", s.name.empty() ? s.url : s.name, r.error().message));
    co_return Outcome{std::move(*r)};
  }

  task::Task<Outcome> splitter(const Graph::Node& n, std::string body) {
    int at = draw();
    for (const auto& s : n.steps) {
      at -= s.weight;
      if (at < 0) co_return co_await step(s, std::move(body));
    }
    co_return co_await step(n.steps.back(), std::move(body));
  }

  task::Task<Outcome> choice(const Graph::Node& n, std::string body) {
    auto doc = json::parse(body);
    if (!doc) co_return broken(400, "the request is no valid JSON, which a Switch's conditions need");
    for (const auto& s : n.steps)
      if (!s.condition || s.condition->exists(*doc)) co_return co_await step(s, std::move(body));
    co_return broken(404, "None of the routes matched with the switch condition");
  }

  task::Task<Outcome> ensemble(const Graph::Node& n, std::string body) {
    std::vector<Outcome> out(n.steps.size());
    task::Group group;
    for (std::size_t i = 0; i < n.steps.size(); ++i)
      group.spawn([](Run& self, const Graph::Step& s, std::string b, Outcome& into) -> task::Task<void> {
        into = co_await self.step(s, std::move(b));
      }(*this, n.steps[i], body, out[i]));
    co_await group.join();
    std::string all = "{";
    for (std::size_t i = 0; i < n.steps.size(); ++i) {
      if (out[i].error) co_return std::move(out[i]);
      if (n.steps[i].hard && !good(out[i].answer.status)) co_return std::move(out[i]);
      if (!json::parse(out[i].answer.body))
        co_return broken(500, fmt::format("step {} of an Ensemble answered with what is no JSON", i));
      if (i != 0) all += ',';
      json::append_string(all, n.steps[i].name.empty() ? std::to_string(i) : n.steps[i].name);
      all += ':';
      all += out[i].answer.body;
    }
    co_return Outcome{{200, all + "}"}};
  }

  task::Task<Outcome> sequence(const Graph::Node& n, std::string body) {
    Outcome last;
    for (std::size_t i = 0; i < n.steps.size(); ++i) {
      const auto& s = n.steps[i];
      std::string input = s.data == "$response" && i > 0 ? last.answer.body : body;
      if (s.condition) {
        auto doc = json::parse(i > 0 ? last.answer.body : body);
        if (!doc) co_return broken(500, "invalid response: it is no JSON, which a condition needs");
        // What does not meet the condition ends the sequence with the answer so far.
        if (!s.condition->exists(*doc)) co_return Outcome{{200, i > 0 ? last.answer.body : std::string()}};
      }
      if (s.to_instances && i > 0)
        if (auto doc = json::parse(input); doc && doc->is_object() && doc->get_object().contains("predictions"))
          input = json::serialize(Object{{"instances", doc->get_object().at("predictions")}});
      last = co_await step(s, std::move(input));
      if (last.error) co_return last;
      if (s.hard && !good(last.answer.status)) co_return last;
    }
    co_return last;
  }

  task::Task<Outcome> node(std::string name, std::string body) {
    const auto& n = nodes.find(name)->second;  // parse() made sure that it is there
    switch (n.router) {
      case Graph::Router::splitter:
        co_return co_await splitter(n, std::move(body));
      case Graph::Router::choice:
        co_return co_await choice(n, std::move(body));
      case Graph::Router::ensemble:
        co_return co_await ensemble(n, std::move(body));
      default:
        co_return co_await sequence(n, std::move(body));
    }
  }
};

std::unexpected<Error> bad(std::string text) { return fail(Code::invalid_argument, std::move(text)); }

Result<Graph::Node> parse_node(std::string_view name, const Object& o) {
  Graph::Node n;
  auto type = kube::text_at(o, "routerType");
  if (type == "Sequence")
    n.router = Graph::Router::sequence;
  else if (type == "Splitter")
    n.router = Graph::Router::splitter;
  else if (type == "Ensemble")
    n.router = Graph::Router::ensemble;
  else if (type == "Switch")
    n.router = Graph::Router::choice;
  else
    return bad(fmt::format("node \"{}\": unknown routerType \"{}\"", name, type));
  const auto& steps = kube::array_at(o, "steps");
  if (steps.empty()) return bad(fmt::format("node \"{}\" has no steps", name));
  if (steps.size() > kMaxSteps) return bad(fmt::format("node \"{}\" has more than {} steps", name, kMaxSteps));
  int weights = 0;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (!steps[i].is_object()) return bad(fmt::format("node \"{}\" steps[{}] is no object", name, i));
    const auto& s = steps[i].get_object();
    Graph::Step step;
    step.name = kube::text_at(s, "name");
    step.node = kube::text_at(s, "nodeName");
    step.url = kube::text_at(s, "serviceUrl");
    step.data = kube::text_at(s, "data");
    step.weight = static_cast<int>(kube::int_at(s, "weight", 0));
    step.hard = kube::text_at(s, "dependency") == "Hard";
    step.to_instances = kube::bool_at(s, "mapPredictionsToInstances");
    int targets = (step.node.empty() ? 0 : 1) + (step.url.empty() ? 0 : 1);
    if (targets != 1)
      return bad(fmt::format("node \"{}\" steps[{}] needs one of nodeName, serviceName and serviceUrl", name, i));
    if (!step.data.empty() && step.data != "$request" && step.data != "$response")
      return bad(
          fmt::format("node \"{}\" steps[{}].data is \"{}\"; $request and $response are known", name, i, step.data));
    if (auto condition = kube::text_at(s, "condition"); !condition.empty()) {
      auto path = JsonPath::parse(condition);
      if (!path) return bad(fmt::format("node \"{}\" steps[{}]: {}", name, i, path.error().message));
      step.condition = std::move(*path);
    }
    if (n.router == Graph::Router::splitter && (step.weight < 0 || step.weight > 100))
      return bad(fmt::format("node \"{}\" steps[{}].weight is not between 0 and 100", name, i));
    weights += step.weight;
    n.steps.push_back(std::move(step));
  }
  if (n.router == Graph::Router::splitter && weights != 100)
    return bad(
        fmt::format("InferenceGraph[{}] Node of type Splitter: the sum of traffic weights for all routing targets "
                    "should be 100",
                    name));
  return n;
}

// Whether a node leads back to one on the way to it.
bool loops(const Nodes& nodes, const std::string& name, std::set<std::string>& way, std::set<std::string>& fine) {
  if (fine.contains(name)) return false;
  if (!way.insert(name).second) return true;
  for (const auto& s : nodes.find(name)->second.steps)
    if (!s.node.empty() && loops(nodes, s.node, way, fine)) return true;
  way.erase(name);
  fine.insert(name);
  return false;
}

}  // namespace

Result<Graph> Graph::parse(const Object& spec) {
  auto nodes = std::make_shared<Nodes>();
  const auto& given = kube::object_at(spec, "nodes");
  if (given.size() > kMaxNodes) return bad(fmt::format("a graph has at most {} nodes", kMaxNodes));
  for (const auto& [name, v] : given) {
    if (!v.is_object()) return bad(fmt::format("node \"{}\" is no object", std::string_view(name)));
    MR_TRY(auto n, parse_node(name, v.get_object()));
    nodes->emplace(std::string(name), std::move(n));
  }
  if (!nodes->contains("root"))
    return bad("root node not found, InferenceGraph needs a node with name 'root' as the root node");
  for (const auto& [name, n] : *nodes)
    for (const auto& s : n.steps)
      if (!s.node.empty() && !nodes->contains(s.node))
        return bad(fmt::format("node \"{}\" names the node \"{}\", which does not exist", name, s.node));
  std::set<std::string> fine;
  for (const auto& [name, _] : *nodes) {
    std::set<std::string> way;
    if (loops(*nodes, name, way, fine)) return bad(fmt::format("node \"{}\" leads back to itself", name));
  }
  Graph g;
  g.nodes_ = std::move(nodes);
  return g;
}

task::Task<GraphAnswer> Graph::run(std::string body, GraphCall call, std::function<int()> draw) const {
  auto nodes = nodes_;
  Run run{*nodes, call, draw};
  auto out = co_await run.node("root", std::move(body));
  co_return std::move(out.answer);
}

}  // namespace mr::serving
