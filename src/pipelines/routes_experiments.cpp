#include "pipelines/routes.h"

namespace mr::pipelines {

namespace {

Answer create_experiment(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto m, read_message(c.body, wire::kExperiment));
  auto e = experiment_from(m);
  if (e.name.empty()) co_return invalid("Experiment must have a non-empty name");
  e.ns = s.namespace_or_default(e.ns);
  MR_CO_CHECK(check_length("Experiment.Name", e.name, 128));
  MR_CO_CHECK(check_length("Experiment.Namespace", e.ns, 63));
  e.created_ms = s.now_ms();
  MR_CO_TRY(auto made, co_await s.store.create_experiment(std::move(e)));
  co_return write_message(wire::kExperiment, to_message(made));
}

Answer get_experiment(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto e, s.store.experiment(c.param(0)));
  co_return write_message(wire::kExperiment, to_message(e));
}

Answer list_experiments(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto q, read_list_query(c.query, kExperiments));
  q.ns = s.namespace_or_default(c.arg("namespace"));
  MR_CO_TRY(auto page, s.store.experiments(q));
  co_return list_answer(wire::kListExperiments, "experiments", page);
}

Answer delete_experiment(Service::Impl& s, Call& c) {
  MR_CO_TRY(auto e, s.store.experiment(c.param(0)));
  if (e.name == "Default")
    co_return fail(Code::conflict,
                   fmt::format("Failed to delete experiment {}. The default experiment cannot be deleted", e.id));
  co_return nothing(co_await s.store.delete_experiment(e.id));
}

Answer archive_experiment(Service::Impl& s, Call& c) {
  auto done = co_await s.store.set_experiment_archived(c.param(0), true);
  if (done) s.recurring_changed();
  co_return nothing(done);
}

Answer unarchive_experiment(Service::Impl& s, Call& c) {
  co_return nothing(co_await s.store.set_experiment_archived(c.param(0), false));
}

}  // namespace

void add_experiment_routes(http::Router& router, Service::Impl& s) {
  using enum http::Method;
  add_endpoint(router, s, post, "/experiments", create_experiment, "Failed to create a experiment");
  add_endpoint(router, s, get, "/experiments", list_experiments, "List experiments failed");
  add_endpoint(router, s, post, "/experiments/{experiment_id}:archive", archive_experiment,
               "Failed to archive experiment");
  add_endpoint(router, s, post, "/experiments/{experiment_id}:unarchive", unarchive_experiment,
               "Failed to unarchive experiment");
  add_endpoint(router, s, get, "/experiments/{experiment_id}", get_experiment, "Failed to fetch experiment");
  add_endpoint(router, s, del, "/experiments/{experiment_id}", delete_experiment, "Failed to delete experiment");
}

}  // namespace mr::pipelines
