#include "pipelines/engine.h"

#include "pipelines/plan_builder.h"

namespace mr::pipelines {
namespace {

using testing::Driver;
using testing::spec;

const std::string kLeaf = R"("leaf":{"executorLabel":"exec"})";
const std::string kMaker =
    R"("maker":{"executorLabel":"exec","outputDefinitions":{"parameters":{"out":{"parameterType":"STRING"}}}})";
const std::string kTaker =
    R"("taker":{"executorLabel":"exec","inputDefinitions":{"parameters":{"in":{"parameterType":"STRING"}}}})";

std::string task(const std::string& name, const std::string& component = "leaf", const std::string& more = "") {
  return fmt::format(R"("{}":{{"componentRef":{{"name":"{}"}}{}}})", name, component, more);
}
std::string after(const std::string& list) { return fmt::format(R"(,"dependentTasks":[{}])", list); }
std::string always() { return R"(,"triggerPolicy":{"strategy":"ALL_UPSTREAM_TASKS_COMPLETED"})"; }
std::string from(const std::string& producer, const std::string& key = "out") {
  return fmt::format(
      R"(,"inputs":{{"parameters":{{"in":{{"taskOutputParameter":{{"producerTask":"{}","outputParameterKey":"{}"}}}}}}}})",
      producer, key);
}
// A DAG component around these tasks, with an input "in" or "item" of text.
std::string dag(const std::string& name, const std::string& tasks, const std::string& outputs = "",
                const std::string& definitions = "") {
  return fmt::format(R"("{}":{{{}"dag":{{"tasks":{{{}}}{}}}}})", name, definitions, tasks, outputs);
}

TEST(Engine, AChainRunsInOrder) {
  Driver d(
      spec(kLeaf, task("c", "leaf", after(R"("b")")) + "," + task("b", "leaf", after(R"("a")")) + "," + task("a")));
  EXPECT_EQ(d.run(), State::succeeded);
  EXPECT_EQ(d.started, (std::vector<std::string>{"a", "b", "c"}));
  d.expect_replay();
}

TEST(Engine, ValuesFlowAndReachTheirTypes) {
  Driver d(spec(kMaker + "," + kTaker, task("m", "maker") + "," + task("t", "taker", from("m"))));
  d.outputs = [](const NodeView& n) { return n.key == "m" ? Object{{"out", "hello"}} : Object{}; };
  EXPECT_EQ(d.run(), State::succeeded);
  EXPECT_EQ(d.engine->node("t")->inputs.at("in").get_string(), "hello");
}

TEST(Engine, AFailureSkipsWhatFollowsAndFailsTheRun) {
  Driver d(spec(kLeaf, task("a") + "," + task("b", "leaf", after(R"("a")")) + "," + task("other") + "," +
                           task("clean", "leaf", after(R"("a","b")") + always())));
  d.succeeds = [](const NodeView& n, int) { return n.key != "a"; };
  EXPECT_EQ(d.run(), State::failed);
  EXPECT_EQ(d.of("a"), State::failed);
  EXPECT_EQ(d.of("b"), State::skipped);
  EXPECT_EQ(d.of("other"), State::succeeded);
  EXPECT_EQ(d.of("clean"), State::succeeded);
  ASSERT_TRUE(d.engine->error());
  EXPECT_EQ(d.engine->error()->message, "task \"a\": boom");
  d.expect_replay();
}

TEST(Engine, AStepWithoutItsOutputFailsItsConsumerByName) {
  Driver d(spec(kMaker + "," + kTaker, task("m", "maker") + "," + task("t", "taker", from("m"))));
  EXPECT_EQ(d.run(), State::failed);
  EXPECT_NE(d.engine->node("t")->error->message.find("input \"in\""), std::string::npos);
}

TEST(Engine, ConditionsChooseAndOneOfTakesTheBranchThatRan) {
  auto branch = [](const std::string& name, const std::string& value) {
    return dag(name, task("m", "maker"),
               R"(,"outputs":{"parameters":{"out":{"valueFromParameter":{"producerSubtask":"m","outputParameterKey":"out"}}}})",
               R"("inputDefinitions":{"parameters":{"in":{"parameterType":"STRING"}}},"outputDefinitions":{"parameters":{"out":{"parameterType":"STRING"}}},)") +
           (value.empty() ? "" : "");
  };
  auto condition = [](const std::string& name, const std::string& cel) {
    return task(name, "comp-" + name,
                R"(,"inputs":{"parameters":{"in":{"componentInputParameter":"in"}}},"triggerPolicy":{"condition":")" +
                    cel + R"("})");
  };
  auto branches = dag(
      "comp-branches",
      condition("yes", "inputs.parameter_values['in'] == 'a'") + "," +
          condition("no", "!(inputs.parameter_values['in'] == 'a')"),
      R"(,"outputs":{"parameters":{"out":{"valueFromOneof":{"parameterSelectors":[{"producerSubtask":"yes","outputParameterKey":"out"},{"producerSubtask":"no","outputParameterKey":"out"}]}}}})",
      R"("inputDefinitions":{"parameters":{"in":{"parameterType":"STRING"}}},"outputDefinitions":{"parameters":{"out":{"parameterType":"STRING"}}},)");
  auto all = kMaker + "," + kTaker + "," + branch("comp-yes", "y") + "," + branch("comp-no", "n") + "," + branches;
  for (const auto* given : {"a", "b"}) {
    Driver d(
        spec(all,
             task("br", "comp-branches", R"(,"inputs":{"parameters":{"in":{"componentInputParameter":"which"}}})") +
                 "," + task("t", "taker", from("br")),
             "", R"("inputDefinitions":{"parameters":{"which":{"parameterType":"STRING"}}},)"),
        Object{{"which", given}});
    d.outputs = [](const NodeView& n) { return n.key == "m" ? Object{{"out", n.path}} : Object{}; };
    EXPECT_EQ(d.run(), State::succeeded);
    bool yes = std::string_view(given) == "a";
    EXPECT_EQ(d.of("br/yes"), yes ? State::succeeded : State::skipped);
    EXPECT_EQ(d.of("br/no"), yes ? State::skipped : State::succeeded);
    EXPECT_EQ(d.engine->node("t")->inputs.at("in").get_string(), yes ? "br/yes/m" : "br/no/m");
  }
}

std::string loop(const std::string& items, const std::string& more = "") {
  return task("loop", "comp-loop",
              R"(,"parameterIterator":{"itemInput":"item","items":{"raw":")" + items + R"("}})" + more);
}
std::string loop_body(const std::string& tasks) {
  return dag(
      "comp-loop", tasks,
      R"(,"outputs":{"parameters":{"all":{"valueFromParameter":{"producerSubtask":"m","outputParameterKey":"out"}}}})",
      R"("inputDefinitions":{"parameters":{"item":{"parameterType":"NUMBER_INTEGER"}}},"outputDefinitions":{"parameters":{"all":{"parameterType":"NUMBER_INTEGER"}}},)");
}
const std::string kListTaker =
    R"("lister":{"executorLabel":"exec","inputDefinitions":{"parameters":{"in":{"parameterType":"LIST"}}}})";

TEST(Engine, ALoopCollectsInOrderWhateverEndsFirst) {
  Driver d(spec(kMaker + "," + kListTaker + "," + loop_body(task("m", "maker")),
                loop("[3,1,2]") + "," + task("t", "lister", from("loop", "all"))));
  d.outputs = [](const NodeView& n) { return n.key == "m" ? Object{{"out", n.path}} : Object{}; };
  EXPECT_EQ(d.run(), State::succeeded);
  EXPECT_EQ(d.most_at_once, 3U);
  EXPECT_EQ(json::serialize(d.engine->node("t")->inputs.at("in")), R"(["loop/0/m","loop/1/m","loop/2/m"])");
  EXPECT_EQ(d.engine->node("loop/1")->inputs.at("item").to_number<int>(), 1);
  d.expect_replay();
}

TEST(Engine, ParallelismIsHonouredAndAnEmptyLoopSucceeds) {
  auto components = kMaker + "," + loop_body(task("m", "maker"));
  Driver d(spec(components, loop("[1,2,3,4,5,6,7]", R"(,"iteratorPolicy":{"parallelismLimit":2})")));
  EXPECT_EQ(d.run(), State::succeeded);
  EXPECT_EQ(d.most_at_once, 2U);
  EXPECT_EQ(d.started.size(), 7U);
  Driver empty(spec(components, loop("[]")));
  EXPECT_EQ(empty.run(), State::succeeded);
  EXPECT_EQ(json::serialize(empty.engine->node("loop")->outputs.at("all")), "[]");
}

TEST(Engine, AFailedIterationStopsTheOnesThatHaveNotBegun) {
  Driver d(spec(kMaker + "," + loop_body(task("m", "maker")),
                loop("[1,2,3,4]", R"(,"iteratorPolicy":{"parallelismLimit":1})")));
  d.succeeds = [](const NodeView& n, int) { return n.path != "loop/1/m"; };
  EXPECT_EQ(d.run(), State::failed);
  EXPECT_EQ(d.of("loop/0"), State::succeeded);
  EXPECT_EQ(d.of("loop/1"), State::failed);
  EXPECT_EQ(d.of("loop/2"), State::skipped);
  EXPECT_EQ(d.of("loop/3"), State::skipped);
  EXPECT_EQ(d.of("loop"), State::failed);
  EXPECT_EQ(d.engine->error()->message, "task \"loop\": iteration 1: task \"m\": boom");
  d.expect_replay();
}

TEST(Engine, RetriesBackOffAndCount) {
  Driver d(
      spec(kLeaf, task("a", "leaf", R"(,"retryPolicy":{"maxRetryCount":3,"backoffDuration":"2s","backoffFactor":3})")));
  std::vector<std::int64_t> starts;
  d.succeeds = [&](const NodeView&, int attempt) {
    starts.push_back(d.time);
    return attempt == 4;
  };
  EXPECT_EQ(d.run(), State::succeeded);
  ASSERT_EQ(starts.size(), 4U);
  EXPECT_GE(starts[1] - starts[0], 2000);
  EXPECT_GE(starts[2] - starts[1], 6000);
  EXPECT_GE(starts[3] - starts[2], 18000);
  EXPECT_EQ(d.engine->node("a")->attempts, 4);
}

TEST(Engine, RetriesEnd) {
  Driver d(spec(kLeaf, task("a", "leaf", R"(,"retryPolicy":{"maxRetryCount":2})")));
  d.succeeds = [](const NodeView&, int) { return false; };
  EXPECT_EQ(d.run(), State::failed);
  EXPECT_EQ(d.engine->node("a")->attempts, 3);
}

TEST(Engine, AnExitHandlerSeesHowItsGuardedPartEnded) {
  auto components =
      kLeaf + "," + dag("comp-guard", task("bad")) +
      R"(,"exit":{"executorLabel":"exec","inputDefinitions":{"parameters":{"status":{"parameterType":"TASK_FINAL_STATUS","isOptional":true}}}})";
  auto tasks = task("guard", "comp-guard") + "," +
               task("exit", "exit",
                    after(R"("guard")") + always() +
                        R"(,"inputs":{"parameters":{"status":{"taskFinalStatus":{"producerTask":"guard"}}}})");
  for (bool good : {true, false}) {
    Driver d(spec(components, tasks));
    d.succeeds = [&](const NodeView& n, int) { return good || n.key != "bad"; };
    EXPECT_EQ(d.run(), good ? State::succeeded : State::failed);
    EXPECT_EQ(d.of("exit"), State::succeeded);
    auto status = d.engine->node("exit")->inputs.at("status").get_object();
    EXPECT_EQ(status.at("state").get_string(), good ? "COMPLETE" : "FAILED");
    EXPECT_EQ(status.at("pipelineTaskName").get_string(), "guard");
    EXPECT_EQ(status.at("pipelineJobResourceName").get_string(), "p-abcde");
    if (!good) EXPECT_EQ(status.at("error").get_object().at("message").get_string(), "task \"bad\": boom");
  }
}

TEST(Engine, TerminationKillsWhatRunsAndStartsNothing) {
  Driver d(spec(kLeaf, task("a") + "," + task("b", "leaf", after(R"("a")")) + "," +
                           task("exit", "leaf", after(R"("a")") + always())));
  auto open = d.launch();
  ASSERT_EQ(open.size(), 1U);
  Event e;
  e.kind = Event::Kind::terminate;
  ASSERT_TRUE(d.tell(e));
  EXPECT_EQ(d.engine->state(), State::canceling);
  auto commands = d.engine->take_commands();
  ASSERT_EQ(commands.size(), 1U);
  EXPECT_EQ(commands[0].kind, Command::Kind::kill);
  EXPECT_EQ(commands[0].node, "a");
  d.end(open[0], false);
  EXPECT_EQ(d.engine->state(), State::canceled);
  EXPECT_EQ(d.of("b"), State::canceled);
  EXPECT_EQ(d.of("exit"), State::canceled);
  EXPECT_TRUE(d.engine->take_commands().empty());
  d.expect_replay();
}

TEST(Engine, ARetryKeepsWhatSucceeded) {
  Driver d(
      spec(kMaker + "," + kLeaf + "," + loop_body(task("m", "maker") + "," + task("then", "leaf", after(R"("m")"))),
           task("first") + "," + loop("[1,2,3]", after(R"("first")"))));
  bool broken = true;
  d.succeeds = [&](const NodeView& n, int) { return !broken || n.path != "loop/1/m"; };
  EXPECT_EQ(d.run(), State::failed);
  EXPECT_EQ(d.of("loop/1/then"), State::skipped);
  broken = false;
  d.started.clear();
  Event e;
  e.kind = Event::Kind::retry;
  ASSERT_TRUE(d.tell(e));
  EXPECT_EQ(d.engine->state(), State::running);
  EXPECT_EQ(d.run(), State::succeeded);
  EXPECT_EQ(d.started, (std::vector<std::string>{"loop/1/m", "loop/1/then"}));
  EXPECT_EQ(d.engine->node("loop/1/m")->attempts, 2);
  d.expect_replay();
}

TEST(Engine, EventsThatDoNotFitChangeNothing) {
  Driver d(spec(kLeaf, task("a")));
  Event e;
  e.kind = Event::Kind::succeeded;
  e.node = "a";
  e.attempt = 2;
  EXPECT_FALSE(d.engine->apply(e));
  e.node = "nobody";
  EXPECT_FALSE(d.engine->apply(e));
  EXPECT_EQ(d.run(), State::succeeded);
  e.node = "a";
  e.attempt = 1;
  EXPECT_FALSE(d.engine->apply(e));
}

TEST(Engine, TenThousandTasksAndALongSkip) {
  std::string tasks;
  for (int i = 0; i < 9999; ++i)
    tasks +=
        (i == 0 ? "" : ",") + task(fmt::format("t{}", i), "leaf", i == 0 ? "" : after(fmt::format("\"t{}\"", i - 1)));
  Driver d(spec(kLeaf, tasks));
  d.succeeds = [](const NodeView&, int) { return false; };
  EXPECT_EQ(d.run(), State::failed);
  EXPECT_EQ(d.of("t9998"), State::skipped);
}

}  // namespace
}  // namespace mr::pipelines
