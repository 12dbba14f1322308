#include "pipelines/routes.h"

namespace mr::pipelines {

namespace {

// The nodes of a run; none when whoever carries it out does not know it (yet, or any more).
task::Task<Result<std::vector<NodeView>>> nodes_of(Service::Impl& s, const std::string& run_id) {
  auto nodes = co_await s.runs.nodes(run_id);
  if (!nodes && nodes.error().code == Code::not_found) co_return std::vector<NodeView>();
  co_return nodes;
}

Answer create_run(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto m, read_message(c.body, wire::kRun));
  if (m.contains("plugins_output"))
    co_return fail(Code::conflict,
                   "plugins_output is server-owned and populated exclusively via plugin lifecycle hooks");
  auto run = run_from(m);
  if (run.experiment_id.empty()) run.experiment_id = c.arg("experiment_id");
  MR_CO_TRY(auto made, co_await s.submit(std::move(run)));
  co_return write_message(wire::kRun, to_message(made));
}

Answer list_runs_of(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto q, read_scoped_query(s, c, kRuns));
  MR_CO_TRY(auto page, co_await s.store.find_runs(std::move(q)));
  co_return list_answer(wire::kListRuns, "runs", page);
}

Answer get_run(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto run, s.store.run(c.param(0)));
  // A run whose tasks cannot be told is still a run; the list of tasks says why.
  auto nodes = co_await nodes_of(s, run.id);
  const auto tasks = nodes ? task_messages(run.id, *nodes, false) : Array();
  co_return write_message(wire::kRun, to_message(run, &tasks));
}

Answer list_tasks_of(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto run, s.store.run(c.param(0)));
  MR_CO_TRY(auto nodes, co_await nodes_of(s, run.id));
  const auto total = static_cast<std::int64_t>(nodes.size());
  co_return write_message(wire::kListTasks,
                          Object{{"tasks", task_messages(run.id, nodes, true)}, {"total_size", total}});
}

Answer archive_run(Service::Impl& s, Call& c) {
  co_return nothing(co_await s.store.set_run_archived(c.param(0), true));
}

Answer unarchive_run(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto run, s.store.run(c.param(0)));
  auto e = s.store.experiment(run.experiment_id);
  if (e && e->archived)
    co_return fail(Code::failed_precondition,
                   fmt::format("Failed to unarchive run {} as experiment {} must be un-archived first", run.id, e->id));
  co_return nothing(co_await s.store.set_run_archived(run.id, false));
}

Answer terminate_run(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto run, s.store.run(c.param(0)));
  if (run.state != State::running && run.state != State::pending)
    co_return invalid(
        fmt::format("Failed to terminate run {}. Only a run that is RUNNING or PENDING can be terminated, it is {}",
                    run.id, state_name(run.state)));
  co_return nothing(co_await s.runs.terminate(run.id));
}

Answer retry_run(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto run, s.store.run(c.param(0)));
  if (run.state != State::failed && run.state != State::canceled)
    co_return fail(
        Code::failed_precondition,
        fmt::format("Failed to retry run {}. Only a run that FAILED or was CANCELED can be retried, it is {}", run.id,
                    state_name(run.state)));
  co_return nothing(co_await s.runs.retry(run.id));
}

Answer delete_run(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto run, s.store.run(c.param(0)));
  // What still runs is ended first; that it ended meanwhile, or is not carried out by anyone, is no reason to keep it.
  if (!is_final(run.state)) (void)co_await s.runs.terminate(run.id);
  auto deleted = co_await s.store.delete_run(run.id);
  if (deleted) s.runs.forget(run.id);
  co_return nothing(std::move(deleted));
}

// A node by its path, the id of its task, or its pod.
std::optional<std::string> find_node(const std::string& run_id, std::span<const NodeView> nodes, std::string_view id) {
  for (const auto& n : nodes)
    if (n.path == id || (!n.pod.empty() && n.pod == id) || task_id(run_id, n.path) == id) return n.path;
  return std::nullopt;
}

// With its parameters, which the list leaves out: they may be large.
Answer get_task(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto run, s.store.run(c.param(0)));
  MR_CO_TRY(auto nodes, co_await nodes_of(s, run.id));
  auto path = find_node(run.id, nodes, c.param(1));
  if (!path) co_return fail(Code::not_found, fmt::format("Task {} not found in run {}", c.param(1), run.id));
  MR_CO_TRY(auto node, co_await s.runs.node(run.id, *path));
  const auto messages = task_messages(run.id, std::span(&node, 1), true);
  co_return write_message(wire::kTaskDetail, messages.front().get_object());
}

task::Task<http::Response> read_log(Service::Impl& s, http::Request& rq) {
  const auto context = [&] { return fmt::format("Failed to read the log of run {}", rq.params[0]); };
  const auto query = text::parse_query(rq.query);
  auto run = s.store.run(rq.params[0]);
  if (!run) co_return upload_error_response(run.error(), context());
  auto nodes = co_await nodes_of(s, run->id);
  if (!nodes) co_return upload_error_response(nodes.error(), context());
  auto node = find_node(run->id, *nodes, rq.params[1]);
  if (!node)
    co_return upload_error_response(Error{Code::not_found, fmt::format("the run has no task {}", rq.params[1]), {}, {}},
                                    context());
  auto answer = co_await s.runs.log(run->id, *node, parameter(query, "follow") == "true");
  if (!answer) co_return upload_error_response(answer.error(), context());
  if (!answer->headers.has("Cache-Control")) answer->headers.add("Cache-Control", "no-cache, private");
  co_return std::move(*answer);
}

}  // namespace

void add_run_routes(http::Router& router, Service::Impl& s) {
  using enum http::Method;
  add_endpoint(router, s, post, "/runs", create_run, "Failed to create a new run");
  add_endpoint(router, s, get, "/runs", list_runs_of, "Failed to list runs");
  add_endpoint(router, s, post, "/runs/{run_id}:archive", archive_run, "Failed to archive a run");
  add_endpoint(router, s, post, "/runs/{run_id}:unarchive", unarchive_run, "Failed to unarchive a run");
  add_endpoint(router, s, post, "/runs/{run_id}:terminate", terminate_run, "Failed to terminate a run");
  add_endpoint(router, s, post, "/runs/{run_id}:retry", retry_run, "Failed to retry a run");
  add_endpoint(router, s, get, "/runs/{run_id}", get_run, "Failed to get a run");
  add_endpoint(router, s, del, "/runs/{run_id}", delete_run, "Failed to delete a run");
  add_endpoint(router, s, get, "/runs/{run_id}/tasks", list_tasks_of, "Failed to list the tasks of run {0}");
  add_endpoint(router, s, get, "/runs/{run_id}/tasks/{task_id}", get_task, "Failed to get a task of run {0}");
  for (const auto* path :
       {"/apis/v1alpha1/runs/{run_id}/nodes/{node_id}/log", "/apis/v2beta1/runs/{run_id}/nodes/{node_id}/log"})
    router.add(get, path, [&s](http::Request& rq) { return read_log(s, rq); });
}

}  // namespace mr::pipelines
