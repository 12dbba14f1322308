// Time zones of the host's tz database, for schedules: which offset is in force when. Immutable, thread safe.
// libstdc++ reads the database from 14 on; until then this reads compiled files (RFC 8536, TZif) and the rule at their
// end (POSIX TZ) that says how the years after the last recorded change go on.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace mr::pipelines {

class TimeZone {
 public:
  // "UTC" and its kin need no file. Errors: invalid_argument: no such zone, or a file that is none.
  static Result<std::shared_ptr<const TimeZone>> load(std::string_view name);
  // What such a file holds.
  static Result<std::shared_ptr<const TimeZone>> parse(std::string_view bytes);
  // A rule alone: "CET-1CEST,M3.5.0,M10.5.0/3".
  static Result<std::shared_ptr<const TimeZone>> from_rule(std::string_view rule);

  struct Span {
    std::int64_t offset = 0;  // seconds east of Greenwich
    std::int64_t until = 0;   // the moment it ends; INT64_MAX: never
  };
  // The span that holds the moment `at`. All moments are seconds since 1970, UTC.
  [[nodiscard]] Span at(std::int64_t at) const;

 private:
  // The day of a change, in one of the three forms that POSIX has, and its time of day in local seconds.
  struct Day {
    enum class Form : std::uint8_t { month_week, julian, ordinal } form = Form::month_week;
    int month = 0, week = 0, day = 0;
    std::int64_t time = 7200;
  };
  struct Rule {
    std::int64_t standard = 0, summer = 0;
    bool has_summer = false;
    Day start, end;
  };
  class RuleParser;
  static std::int64_t moment(int year, const Day& d, std::int64_t offset);
  [[nodiscard]] static Span by_rule(const Rule& r, std::int64_t at);

  std::vector<std::int64_t> changes_;  // ascending
  std::vector<std::int64_t> offsets_;  // in force from the change of the same index on
  std::int64_t first_ = 0;             // in force before all of them
  std::optional<Rule> rule_;
};

}  // namespace mr::pipelines
