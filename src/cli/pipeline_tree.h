// How runs, plans and the origin of artifacts look in a terminal: as lines of trees. Pure functions, plain values.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pipelines/plan.h"

namespace mr::cli {

// --- trees of any kind ---

struct Branch {
  std::string text;                // one line
  std::vector<std::string> notes;  // lines below it, before the children
  std::vector<Branch> children;
};
// The lines of `roots` one under the other; `framed`: the roots hang on a line of their own, as children do.
std::vector<std::string> branch_lines(const std::vector<Branch>& roots, bool framed);
// What came from outside, without line ends, escape sequences and other control characters, cut at `most` characters.
std::string one_line(std::string_view text, std::size_t most = 200);
// The beginning of a line that fills at most `width` columns; colours in it take none.
std::string cut_to_width(std::string_view line, std::size_t width);

// --- runs ---

struct TaskPicture {
  std::string id, parent, key, name, state, error, cache;  // states as on the wire; `cache`: not empty for a hit
  std::string waiting_for;                                 // what keeps the step from starting
  int iteration = -1, attempts = 0;
  std::int64_t start_ms = 0, end_ms = 0;
};
struct RunPicture {
  std::string id, name, state, error;
  std::int64_t created_ms = 0, finished_ms = 0;
  std::vector<TaskPicture> tasks;  // parents before children
};
// From the API's answers: a Run, and its tasks (what /runs/ID/tasks gives, or the run's own details where that is
// null).
RunPicture read_run_picture(const boost::json::value& run, const boost::json::value& tasks);
// Puts the members of each group into the order in which they can run.
void order_tasks(RunPicture& run, const pipelines::Plan& plan);
bool run_is_over(const RunPicture& run);

struct Look {
  std::size_t width = 100;
  std::size_t height = 0;  // 0: as many lines as it takes
  bool color = false;
  std::int64_t now_ms = 0;
};
// The whole picture; where it is higher than `height`, what is over and alike is drawn together.
std::vector<std::string> run_lines(const RunPicture& run, const Look& look);
// What changed since `before`, a line each.
std::vector<std::string> run_changes(const RunPicture& before, const RunPicture& now);
// "train", "for-loop-1/3/train": where a task stands in its run.
std::string task_place(const RunPicture& run, const TaskPicture& task);

// --- plans ---

std::vector<std::string> plan_lines(const pipelines::Plan& plan);

}  // namespace mr::cli
