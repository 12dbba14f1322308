// For tests: small pipelines as IR, and a driver that plays the part of the pods. Not part of the program.
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "json/parse.h"
#include "pipelines/engine.h"

namespace mr::pipelines::testing {

inline Value ir(std::string_view text) {
  auto v = json::parse(text, 256);
  if (!v) ADD_FAILURE() << "the test's JSON: " << v.error().message;
  return v ? *v : Value();
}

// A spec with these components, tasks of the root and executors, all as JSON members.
inline Value spec(const std::string& components, const std::string& tasks, const std::string& outputs = "",
                  const std::string& inputs = "") {
  return ir(
      R"({"pipelineInfo":{"name":"p"},"schemaVersion":"2.1.0","components":{)" + components +
      R"(},"deploymentSpec":{"executors":{"exec":{"container":{"image":"busybox","command":["true"]}}}},"root":{)" +
      inputs + R"("dag":{"tasks":{)" + tasks + "}" + outputs + "}}}");
}

// Drives an engine to its end: `outcome` says what becomes of an attempt of a leaf (true: it succeeds, and its outputs
// are what `outputs` gives).
struct Driver {
  explicit Driver(const Value& s, Object parameters = {}) {
    auto p = compile(s);
    if (!p) {
      ADD_FAILURE() << p.error().message;
      std::abort();
    }
    RunFacts f;
    f.run_id = "run-1";
    f.name = "my run";
    f.resource_name = "p-abcde";
    engine.emplace(*p, f, std::move(parameters));
    engine->begin(time);
  }
  std::function<bool(const NodeView&, int attempt)> succeeds = [](const NodeView&, int) { return true; };
  std::function<Object(const NodeView&)> outputs = [](const NodeView&) { return Object{}; };
  std::vector<std::string> started;  // in order
  std::vector<Event> events;
  std::optional<Engine> engine;
  std::int64_t time = 1000;
  std::size_t most_at_once = 0;

  Result<void> tell(Event e) {
    e.time_ms = ++time;
    events.push_back(e);
    return engine->apply(e);
  }
  // Begins what is wanted; the answers are what runs now.
  std::vector<Command> launch() {
    std::vector<Command> all;
    for (auto& c : engine->take_commands()) {
      if (c.kind != Command::Kind::launch) {
        all.push_back(c);
        continue;
      }
      time = std::max(time, c.not_before_ms);
      Event e;
      e.kind = Event::Kind::started;
      e.node = c.node;
      e.attempt = c.attempt;
      e.pod = "pod-" + c.node;
      e.uuid = "uuid";
      EXPECT_TRUE(tell(e));
      started.push_back(c.node);
      all.push_back(c);
    }
    return all;
  }
  void end(const Command& c, bool ok) {
    Event e;
    e.kind = ok ? Event::Kind::succeeded : Event::Kind::failed;
    e.node = c.node;
    e.attempt = c.attempt;
    if (ok)
      e.parameters = outputs(*engine->node(c.node));
    else
      e.error = Error{Code::internal, "boom", {}, {}};
    auto r = tell(e);
    EXPECT_TRUE(r) << (r ? "" : r.error().message);
  }
  State run() {
    std::vector<Command> open;
    for (;;) {
      for (auto& c : launch())
        if (c.kind == Command::Kind::launch) open.push_back(c);
      most_at_once = std::max(most_at_once, open.size());
      if (open.empty()) break;
      auto c = open.front();
      open.erase(open.begin());
      end(c, succeeds(*engine->node(c.node), c.attempt));
    }
    return engine->state();
  }
  State of(const std::string& path) {
    auto n = engine->node(path);
    return n ? n->state : State::unspecified;
  }
  // Another engine from the same events must be in the same state.
  void expect_replay() {
    RunFacts f = engine->facts();
    Engine again(std::make_shared<const Plan>(engine->plan()), f, {});
    again.begin(1000);
    for (const auto& e : events) {
      auto text = json::serialize(to_json(e));
      auto parsed = event_from_json(*json::parse(text, 256));
      ASSERT_TRUE(parsed);
      ASSERT_TRUE(again.apply(*parsed)) << text;
    }
    EXPECT_EQ(again.state(), engine->state());
    auto a = again.nodes(true), b = engine->nodes(true);
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(a[i].path, b[i].path);
      EXPECT_EQ(a[i].state, b[i].state) << a[i].path;
      EXPECT_EQ(Value(a[i].outputs), Value(b[i].outputs)) << a[i].path;
    }
  }
};

}  // namespace mr::pipelines::testing
