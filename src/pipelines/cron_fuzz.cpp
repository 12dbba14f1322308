// A schedule on a line, then a moment in milliseconds on a line, then a time zone: a file's bytes or a rule. What is
// read gives times that rise, and the same ones from wherever one begins.
#include "pipelines/cron.h"
#include "pipelines/cron_zone.h"
#include "text/text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mr;
  using namespace mr::pipelines;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  auto line = [&] {
    auto out = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), out.size() + 1));
    return out;
  };
  const auto text = line();
  const auto start = text::to_i64(line()).value_or(0);
  (void)Cron::parse(text, "UTC");
  auto zone = rest.starts_with("TZif") ? TimeZone::parse(rest) : TimeZone::from_rule(rest);
  if (!zone) return 0;
  auto cron = Cron::parse(text, *zone);
  if (!cron) return 0;
  auto at = start;
  for (int i = 0; i < 8; ++i) {
    const auto next = cron->next(at);
    if (!next) break;
    if (at > -62135596800000 && *next <= at) __builtin_trap();
    if (*next % 1000 != 0) __builtin_trap();
    if (!text.starts_with("@every") && cron->next(*next - 1) != next) __builtin_trap();
    at = *next;
  }
  return 0;
}
