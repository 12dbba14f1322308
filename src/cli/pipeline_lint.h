// What is unusual, large or never used in a pipeline that compiles: advice, no errors. Pure functions.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "pipelines/plan.h"

namespace mr::cli {

struct Finding {
  enum class Level : std::uint8_t { error, warning, note } level = Level::note;
  std::string where;  // a field of the spec, or a component
  std::string what;
};
std::string_view level_name(Finding::Level l);

// What this machine makes of an image.
struct ImageVerdict {
  bool runs = true;
  std::string note;  // empty: nothing to say
};
using ImageJudge = std::function<ImageVerdict(const std::string& image)>;
// The machine that would run it.
struct MachineFacts {
  ImageJudge image;
  std::int64_t cpu_milli = 0, memory_milli = 0;  // thousandths of a core, of a byte; 0: not known
};

// `spec`: what `plan` was compiled from. Errors among the findings: what the server refuses beyond what compile()
// checks. In the order of their weight, and within it of their kind.
std::vector<Finding> lint(const pipelines::Plan& plan, const boost::json::value& spec, const MachineFacts& machine);

}  // namespace mr::cli
