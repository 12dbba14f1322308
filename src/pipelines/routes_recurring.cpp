#include "pipelines/cron.h"
#include "pipelines/routes.h"

namespace mr::pipelines {

namespace {

Result<void> check_recurring(const RecurringRun& r) {
  if (r.name.empty()) return invalid("Recurring run name is empty. Please specify a valid name");
  if (r.kind == TriggerKind::cron) {
    if (auto cron = Cron::parse(r.cron); !cron)
      return invalid(
          fmt::format("Schedule cron is not a supported format(https://godoc.org/github.com/robfig/cron). Error: {}",
                      cron.error().message));
  } else if (r.interval_s < 1) {
    return invalid(
        fmt::format("Found invalid period schedule interval {}. Set at interval to least 1 second", r.interval_s));
  }
  return {};
}

Answer create_recurring_run(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto m, read_message(c.body, wire::kRecurringRun));
  MR_CO_TRY(auto r, recurring_from(m));
  MR_CO_CHECK(check_recurring(r));
  MR_CO_CHECK(co_await s.place(r.experiment_id, r.ns));
  // Without a version each run takes the latest; today's tells whether the parameters fit.
  MR_CO_TRY(auto plan, co_await s.resolve(r.pipeline_id, r.version_id, r.spec, false));
  MR_CO_CHECK(check_parameters(*plan, r.parameters));
  r.created_ms = r.updated_ms = s.now_ms();
  MR_CO_TRY(auto made, co_await s.store.create_recurring(std::move(r)));
  s.recurring_changed();
  co_return write_message(wire::kRecurringRun, to_message(made));
}

Object with_error(Service::Impl& s, const RecurringRun& r) {
  auto m = to_message(r);
  if (s.options.recurring_error)
    if (const auto e = s.options.recurring_error(r.id)) m["error"] = to_message(*e);
  return m;
}

Answer get_recurring_run(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto r, s.store.recurring(c.param(0)));
  co_return write_message(wire::kRecurringRun, with_error(s, r));
}

Answer list_recurring_runs(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto q, read_scoped_query(s, c, kRecurringRuns));
  MR_CO_TRY(auto page, s.store.recurring_runs(q));
  co_return list_answer(wire::kListRecurringRuns, "recurringRuns", page);
}

task::Task<Result<std::string>> set_enabled(Service::Impl& s, std::string id, bool enabled) {
  auto done = co_await s.store.set_recurring_enabled(std::move(id), enabled, s.now_ms());
  if (done) s.recurring_changed();
  co_return nothing(done);
}
Answer enable_recurring_run(Service::Impl& s, Call& c) { return set_enabled(s, c.param(0), true); }
Answer disable_recurring_run(Service::Impl& s, Call& c) { return set_enabled(s, c.param(0), false); }

Answer delete_recurring_run(Service::Impl& s, Call& c) {
  auto done = co_await s.store.delete_recurring(c.param(0));
  if (done) s.recurring_changed();
  co_return nothing(done);
}

}  // namespace

void add_recurring_routes(http::Router& router, Service::Impl& s) {
  using enum http::Method;
  add_endpoint(router, s, post, "/recurringruns", create_recurring_run, "Failed to create a recurring run");
  add_endpoint(router, s, get, "/recurringruns", list_recurring_runs, "Failed to list jobs");
  add_endpoint(router, s, post, "/recurringruns/{recurring_run_id}:enable", enable_recurring_run,
               "Failed to enable a recurring run");
  add_endpoint(router, s, post, "/recurringruns/{recurring_run_id}:disable", disable_recurring_run,
               "Failed to disable a recurring run");
  add_endpoint(router, s, get, "/recurringruns/{recurring_run_id}", get_recurring_run,
               "Failed to fetch a recurring run");
  add_endpoint(router, s, del, "/recurringruns/{recurring_run_id}", delete_recurring_run,
               "Failed to delete a recurring run");
}

}  // namespace mr::pipelines
