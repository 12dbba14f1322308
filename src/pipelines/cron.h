// When a schedule fires: texts of six fields with seconds first ("0 30 1 * * *": sec min hour dom month dow), as the
// schedules of KFP are read. Immutable after parse(); thread safe. Reads no clock.
// Fields: numbers, names of months and days (any case), `*` `?` `,` `-` `/`; the day of the week may be left out, so a
// classic five-field text is read as sec..month: warning() says so. Also @yearly @annually @monthly @weekly @daily
// @midnight @hourly and "@every 1h30m"; "TZ=Europe/Berlin " or "CRON_TZ=… " in front names the zone in the text itself.
// Both days given (no `*` or `?` in either): one of the two must match. Otherwise both must.
// Zones and their changes: a schedule fires at every instant at which the zone's clock shows a matching time. So a time
// that a change skips is skipped that day, and one that is shown twice fires twice, as Go's robfig/cron (v1) does. Two
// things differ: that looks five years ahead only, and loses days (or goes back) at changes around midnight.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.h"

namespace mr::pipelines {

class TimeZone;  // cron_zone.h

class Cron {
 public:
  // `zone` is a name of the tz database ("UTC", "Europe/Berlin"). Errors: invalid_argument, with the field and what is
  // wrong with it, or the zone that is not known.
  static Result<Cron> parse(std::string_view text, std::string_view zone = "UTC");
  static Result<Cron> parse(std::string_view text, std::shared_ptr<const TimeZone> zone);
  // The first time after `after_ms` (milliseconds since 1970, UTC); whole seconds. None: there is no such day within
  // eight years (30 February).
  [[nodiscard]] std::optional<std::int64_t> next(std::int64_t after_ms) const;
  // What a person should be told about the text although it is valid; empty: nothing.
  [[nodiscard]] const std::string& warning() const { return warning_; }

 private:
  struct Fields {
    std::uint64_t second = 0, minute = 0, hour = 0, day = 0, month = 0, weekday = 0;  // bit N: value N
    bool any_day = false, any_weekday = false;                                        // `*` or `?` was among its parts
  };
  [[nodiscard]] bool day_matches(std::int64_t day) const;  // days since 1970, local

  Fields fields_;
  std::int64_t every_s_ = 0;  // not 0: @every
  std::shared_ptr<const TimeZone> zone_;
  std::string warning_;
};

}  // namespace mr::pipelines
