#include "cli/pipeline_tree.h"

#include "pipelines/plan_builder.h"

namespace mr::cli {
namespace {

using pipelines::testing::ir;

std::string joined(const std::vector<std::string>& lines) {
  std::string out;
  for (const auto& l : lines) out += l + "\n";
  return out;
}

constexpr std::string_view kRun = R"({"run_id":"r1","display_name":"nightly","state":"RUNNING",
  "created_at":"2026-11-25T12:00:00Z"})";

std::string task(std::string_view id, std::string_view parent, std::string_view name, std::string_view state,
                 std::string_view more = "", std::string_view rest = "") {
  return fmt::format(
      R"({{"task_id":"{}","parent_task_id":"{}","display_name":"{}","state":"{}","more":{{"key":"{}"{}}}{}}})", id,
      parent, name, state, name, more, rest);
}

RunPicture picture(const std::vector<std::string>& tasks, std::string_view run = kRun) {
  std::string text;
  for (const auto& t : tasks) text += (text.empty() ? "" : ",") + t;
  return read_run_picture(ir(run), ir(R"({"tasks":[)" + text + "]}"));
}

const std::string kTimes = R"(,"start_time":"2026-11-25T12:00:01Z","end_time":"2026-11-25T12:01:06Z")";

std::vector<std::string> small_run() {
  return {task("0", "", "root", "RUNNING"),
          task("1", "0", "load", "SUCCEEDED", R"(,"cache":"hit because …")", kTimes),
          task("2", "0", "train", "FAILED", R"(,"attempts":2)", kTimes + R"(,"error":{"message":"exit code 1\nlast"})"),
          task("3", "0", "each", "RUNNING"),
          task("4", "3", "each", "SUCCEEDED", R"(,"iteration":0)"),
          task("5", "4", "say", "SUCCEEDED", "", kTimes),
          task("6", "3", "each", "RUNNING", R"(,"iteration":1)"),
          task("7", "6", "say", "RUNNING", "", R"(,"start_time":"2026-11-25T12:00:01Z")"),
          task("8", "0", "report", "SKIPPED")};
}

Look at(std::int64_t seconds) {
  Look l;
  l.now_ms = (1'795'608'000 + seconds) * 1000;  // 2026-11-25T12:00:00Z
  return l;
}

TEST(RunLines, ShowTheTreeWithWhatHappened) {
  EXPECT_EQ(joined(run_lines(picture(small_run()), at(90))),
            "nightly  RUNNING  ━━━━━━━━━━━━━━━━────  4/5 steps  1m30s\n"
            "├─ ✓ load    1m05s, cached\n"
            "├─ ✗ train   1m05s, attempt 2\n"
            "│     exit code 1 last\n"
            "├─ ● each\n"
            "│  ├─ ✓ iteration 0\n"
            "│  │  └─ ✓ say  1m05s\n"
            "│  └─ ● iteration 1\n"
            "│     └─ ● say  1m29s\n"
            "└─ – report  skipped\n");
}

TEST(RunLines, AreColoredWhenAsked) {
  auto look = at(90);
  look.color = true;
  auto lines = run_lines(picture(small_run()), look);
  EXPECT_NE(lines[2].find("\x1b[31;1m✗\x1b[0m train"), std::string::npos) << lines[2];
}

TEST(RunLines, FitIntoTheTerminal) {
  std::vector<std::string> tasks{task("0", "", "root", "RUNNING"), task("l", "0", "each", "RUNNING")};
  for (int i = 0; i < 200; ++i) {
    const auto* state = i == 7 ? "FAILED" : i < 150 ? "SUCCEEDED" : "PENDING";
    // Iterations begin at once; their steps wait for a place.
    tasks.push_back(
        task(fmt::format("i{}", i), "l", "each", i < 150 ? state : "RUNNING", fmt::format(R"(,"iteration":{})", i)));
    tasks.push_back(task(fmt::format("s{}", i), fmt::format("i{}", i), "say", state));
  }
  auto run = picture(tasks);
  auto whole = run_lines(run, at(5));
  EXPECT_EQ(joined(whole),
            "nightly  RUNNING  ━━━━━━━━━━━━━━━─────  150/200 steps  5s\n"
            "└─ ● each\n"
            "   ├─ ✗ iteration 7\n"
            "   │  └─ ✗ say\n"
            "   └─ … 149 succeeded, 50 waiting besides\n");
  auto look = at(5);
  look.height = 3;
  look.width = 20;
  auto small = run_lines(run, look);
  ASSERT_EQ(small.size(), 3U);
  EXPECT_EQ(small[0], "nightly  RUNNING  ━…");
  EXPECT_EQ(small[2], "… 3 more lines");
}

TEST(RunLines, FinishedGroupsAreClosedBeforeAnythingIsCut) {
  std::vector<std::string> tasks{task("0", "", "root", "RUNNING")};
  for (int g = 0; g < 4; ++g) {
    tasks.push_back(task(fmt::format("g{}", g), "0", fmt::format("part-{}", g), g < 3 ? "SUCCEEDED" : "RUNNING"));
    for (int i = 0; i < 3; ++i)
      tasks.push_back(task(fmt::format("g{}t{}", g, i), fmt::format("g{}", g), fmt::format("t{}", i),
                           g < 3 ? "SUCCEEDED" : "RUNNING"));
  }
  auto look = at(5);
  look.height = 10;
  EXPECT_EQ(joined(run_lines(picture(tasks), look)),
            "nightly  RUNNING  ━━━━━━━━━━━━━━━─────  9/12 steps  5s\n"
            "├─ ✓ part-0  3 steps\n"
            "├─ ✓ part-1  3 steps\n"
            "├─ ✓ part-2  3 steps\n"
            "└─ ● part-3\n"
            "   ├─ ● t0\n"
            "   ├─ ● t1\n"
            "   └─ ● t2\n");
}

TEST(RunChanges, TellWhatIsNew) {
  auto now = picture(small_run());
  EXPECT_EQ(joined(run_changes({}, now)),
            "load succeeded from the cache\n"
            "train failed after 1m05s: exit code 1 last\n"
            "each/0/say succeeded after 1m05s\n"
            "each/1/say running\n"
            "report skipped\n"
            "run running\n");
  EXPECT_TRUE(run_changes(now, now).empty());
  auto tasks = small_run();
  tasks[7] = task("7", "6", "say", "RUNNING", R"(,"attempts":2)", R"(,"start_time":"2026-11-25T12:00:01Z")");
  EXPECT_EQ(joined(run_changes(now, picture(tasks))), "each/1/say running, attempt 2\n");
  auto over = picture(
      small_run(), R"({"run_id":"r1","display_name":"nightly","state":"FAILED","error":{"message":"task \"train\": no"},
    "created_at":"2026-11-25T12:00:00Z","finished_at":"2026-11-25T12:00:09Z"})");
  EXPECT_EQ(joined(run_changes(now, over)), "run failed after 9s: task \"train\": no\n");
}

TEST(RunPictures, OfAnotherServerHaveTheRunsOwnDetails) {
  auto run = read_run_picture(ir(R"({"run_id":"r","display_name":"n","state":"SUCCEEDED","run_details":{"task_details":[
    {"task_id":"a","display_name":"root","state":"SUCCEEDED"},
    {"task_id":"b","parent_task_id":"a","display_name":"train","state":"SUCCEEDED"}]}})"),
                              {});
  EXPECT_EQ(joined(run_lines(run, {})), "n  SUCCEEDED  1/1 steps  \n└─ ✓ train\n");
}

TEST(Characters, FromOutsideCannotSteerTheTerminal) {
  EXPECT_EQ(one_line("a\x1b[2Jb\nc\rd\x07"), "a?[2Jb c?d?");
  EXPECT_EQ(one_line("äöü", 2), "äö…");
  EXPECT_EQ(cut_to_width("日本語", 6), "日本語");
  EXPECT_EQ(cut_to_width("日本語", 5), "日本…");
  EXPECT_EQ(cut_to_width("\x1b[1mabcdef\x1b[0m", 4), "\x1b[1mabc…\x1b[0m");
  EXPECT_EQ(cut_to_width("abcd", 4), "abcd");
}

// --- plans ---

constexpr std::string_view kPlan =
    R"({"pipelineInfo":{"name":"p","description":"d"},"schemaVersion":"2.1.0","sdkVersion":"kfp-2.17.3",
"components":{
 "make":{"executorLabel":"e","inputDefinitions":{"parameters":{"n":{"parameterType":"NUMBER_INTEGER"}}},
   "outputDefinitions":{"parameters":{"o":{"parameterType":"LIST"}},"artifacts":{"d":{"artifactType":{"schemaTitle":"system.Dataset"}}}}},
 "use":{"executorLabel":"e","inputDefinitions":{"parameters":{"x":{"parameterType":"STRING"}}}},
 "body":{"dag":{"tasks":{"use":{"componentRef":{"name":"use"},"inputs":{"parameters":{"x":{"componentInputParameter":"item"}}}}}},
   "inputDefinitions":{"parameters":{"item":{"parameterType":"STRING"},"all":{"parameterType":"LIST"}}}}},
"deploymentSpec":{"executors":{"e":{"container":{"image":"busybox","command":["true"],"resources":{"resourceMemoryLimit":"1Gi"}}}}},
"root":{"inputDefinitions":{"parameters":{"n":{"parameterType":"NUMBER_INTEGER"},"m":{"parameterType":"STRING","defaultValue":"fast","isOptional":true}}},
 "outputDefinitions":{"artifacts":{"d":{"artifactType":{"schemaTitle":"system.Dataset"}}}},
 "dag":{"outputs":{"artifacts":{"d":{"artifactSelectors":[{"producerSubtask":"zmake","outputArtifactKey":"d"}]}}},
 "tasks":{
  "each":{"componentRef":{"name":"body"},"inputs":{"parameters":{"all":{"taskOutputParameter":{"producerTask":"zmake","outputParameterKey":"o"}}}},
    "parameterIterator":{"items":{"inputParameter":"all"},"itemInput":"item"},"iteratorPolicy":{"parallelismLimit":2},
    "triggerPolicy":{"condition":"inputs.parameter_values['all'] != []"}},
  "last":{"componentRef":{"name":"use"},"dependentTasks":["each"],"inputs":{"parameters":{"x":{"runtimeValue":{"constant":"k"}}}},
    "triggerPolicy":{"strategy":"ALL_UPSTREAM_TASKS_COMPLETED"},"cachingOptions":{"enableCache":true},"retryPolicy":{"maxRetryCount":3,"backoffDuration":"5s"}},
  "zmake":{"componentRef":{"name":"make"},"inputs":{"parameters":{"n":{"componentInputParameter":"n"}}}}}}}})";

TEST(PlanLines, SayWhatEachTaskIsAndWhereItsInputsComeFrom) {
  auto plan = pipelines::compile(ir(kPlan));
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(joined(plan_lines(**plan)),
            "p  (schema 2.1.0, kfp-2.17.3)\n"
            "  d\n"
            "inputs\n"
            "  m: STRING = \"fast\"\n"
            "  n: NUMBER_INTEGER  (required)\n"
            "tasks\n"
            "├─ zmake  busybox\n"
            "│     in     n = input n\n"
            "│     out    o: LIST\n"
            "│     out    d: system.Dataset\n"
            "│     limit  memory 1Gi\n"
            "│     cache  off\n"
            "├─ each  body\n"
            "│  │  if     inputs.parameter_values['all'] != []\n"
            "│  │  each   item in o of zmake, at most 2 at once\n"
            "│  └─ use  busybox\n"
            "│        in     x = input item\n"
            "│        limit  memory 1Gi\n"
            "│        cache  off\n"
            "└─ last  busybox\n"
            "      after  each\n"
            "      always also when what it waits for failed\n"
            "      retry  up to 3 times, first after 5 s\n"
            "      in     x = \"k\"\n"
            "      limit  memory 1Gi\n"
            "outputs\n"
            "  d: d of zmake\n");
}

TEST(RunPictures, StandInTheOrderOfThePlan) {
  auto plan = pipelines::compile(ir(kPlan));
  ASSERT_TRUE(plan);
  auto run = picture({task("0", "", "root", "RUNNING"), task("1", "0", "each", "RUNNING"),
                      task("2", "1", "each", "RUNNING", R"(,"iteration":0)"), task("3", "2", "use", "RUNNING"),
                      task("4", "1", "each", "RUNNING", R"(,"iteration":1)"), task("5", "0", "last", "PENDING"),
                      task("6", "0", "zmake", "SUCCEEDED")});
  order_tasks(run, **plan);
  std::string ids;
  for (const auto& t : run.tasks) ids += t.id;
  EXPECT_EQ(ids, "0612345");
}

}  // namespace
}  // namespace mr::cli
