// Recurring runs: when a schedule makes its next run, and the loop that makes it. What is decided is decided by pure
// functions of the schedule's row and a given time, so that tests can move the clock; all that is remembered is in the
// row (last_ms, next_index, updated_ms), so that a restart goes on where the last commit was.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pipelines/service.h"
#include "pipelines/types.h"
#include "task/loop.h"
#include "task/task.h"

namespace mr::pipelines {

// A time at which a schedule is to make a run, and the number of that run.
struct Due {
  std::int64_t scheduled_ms = 0, index = 0;
};

// The first time of the schedule that has had no run, be it past or to come; none: the schedule is over. Times while it
// was disabled do not count. `zone`: of cron texts. Errors: the cron text or the zone cannot be read.
Result<std::optional<std::int64_t>> next_time(const RecurringRun& r, std::string_view zone);
// The times to come, soonest first, at most `most`. As above.
Result<std::vector<std::int64_t>> next_times(const RecurringRun& r, std::int64_t now_ms, std::string_view zone,
                                             std::size_t most);
// What is to be made now, oldest first: with catch-up every missed time, without it the latest one alone; never more
// than max_concurrency (1 to 10) allows beside `active_runs`. Nothing when the schedule is disabled.
Result<std::vector<Due>> due(const RecurringRun& r, std::int64_t now_ms, std::int64_t active_runs,
                             std::string_view zone);

// Replaces [[ScheduledTime]], [[CurrentTime]], [[Index]] and [[RunUUID]]; times take a Go layout
// ("[[CurrentTime.15-04]]", else 20060102150405) and are UTC. Anything else in brackets stays.
struct MacroValues {
  std::int64_t scheduled_ms = 0, current_ms = 0, index = 0;
  std::string run_id;
};
std::string expand_macros(std::string_view text, const MacroValues& v);
// A time as Go's Time.Format writes it in UTC.
std::string format_go_time(std::int64_t ms, std::string_view layout);
// The run of one time: named NAME-20060102150405 by its scheduled time, so that a time has one name.
Run scheduled_run(const RecurringRun& r, const Due& d, std::int64_t now_ms, std::string run_id);

// Thread safe, save that start() and stop() belong to the owner; neither is called from the loop. The Service and its
// store outlive it. It lives on the loop given to start().
class Schedules {
 public:
  // `zone` is a name of the tz database.
  Schedules(Service& service, std::function<std::int64_t()> now_ms, std::string zone = "UTC");
  ~Schedules();
  Schedules(const Schedules&) = delete;
  Schedules& operator=(const Schedules&) = delete;

  void start(task::Loop& loop);
  // Returns when the loop's part has ended. Idempotent. The loop must still run.
  void stop();
  // A recurring run was made, enabled, disabled or deleted.
  void changed();
  // Why the last try to make a run of this schedule failed; none: it did not.
  [[nodiscard]] std::optional<Error> error(const std::string& recurring_id) const;

  // One look at all schedules: makes what is due and answers when to look again (never later than `now + 1 s`, unless
  // there is nothing to wait for: none). Public for tests, which call it instead of start().
  task::Task<std::optional<std::int64_t>> step();

  struct Impl;

 private:
  std::shared_ptr<Impl> impl_;  // shared with what was posted to the loop
};

}  // namespace mr::pipelines
