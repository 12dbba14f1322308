#include "pipelines/service.h"

#include "crypto/random.h"
#include "kube/names.h"
#include "pipelines/package_file.h"
#include "pipelines/routes.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::pipelines {

namespace {

constexpr std::size_t body_limit = 32U << 20;

// What the original's metadata store takes.
Result<void> check_spec_name(std::string_view name) {
  if (name.empty()) return invalid("pipeline's name cannot be empty");
  if (name.size() > 128) return invalid("pipeline's name must contain no more than 128 characters");
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (!letter(name[0]) || !std::ranges::all_of(name, [&](char c) { return letter(c) || c == '-'; }))
    return invalid(
        "pipeline's name must contain only lowercase alphanumeric characters or '-' and must start with alphanumeric "
        "characters");
  return {};
}

std::unexpected<Error> busy() { return fail(Code::unavailable, "too many pipelines are being read; try again later"); }

}  // namespace

task::Task<Result<NodeView>> Runs::node(std::string run_id, std::string path) {
  co_return fail(Code::not_found, fmt::format("run {} has no node {}", run_id, path));
}

void Runs::forget(const std::string&) {}

std::int64_t Service::Impl::now_ms() const { return options.now_ms ? options.now_ms() : time::now_ms(); }

task::Task<Result<std::shared_ptr<const Plan>>> Service::Impl::compile_spec(const Value& spec) {
  auto plan = co_await task::run_on(pool, [&] { return compile(spec); });
  if (!plan) co_return busy();
  if (*plan) MR_CO_CHECK(check_spec_name((**plan)->name));
  co_return std::move(*plan);
}

task::Task<Result<Service::Impl::Package>> Service::Impl::read_package(std::string_view name, std::string_view bytes) {
  auto package = co_await task::run_on(pool, [&]() -> Result<Package> {
    MR_TRY(auto text, package_text(name, bytes));
    Package p;
    MR_TRY(p.spec, parse_package(text));
    MR_TRY(p.plan, compile(p.spec));
    return p;
  });
  if (!package) co_return busy();
  if (*package) MR_CO_CHECK(check_spec_name((*package)->plan->name));
  co_return std::move(*package);
}

task::Task<Result<Service::Impl::Package>> Service::Impl::fetch_package(const std::string& url) {
  const auto u = text::parse_uri(url);
  if ((u.scheme != "http" && u.scheme != "https") || u.authority.empty())
    co_return invalid(fmt::format("invalid pipeline spec URL: {}", url));
  if (!options.fetch_url) co_return fail(Code::unimplemented, "this server fetches no pipelines by URL");
  MR_CO_TRY(auto bytes, co_await options.fetch_url(url));
  auto name = u.path.substr(u.path.rfind('/') + 1);
  co_return co_await read_package(name, bytes);
}

task::Task<Result<std::shared_ptr<const Plan>>> Service::Impl::resolve(std::string& pipeline_id,
                                                                       std::string& version_id, Value& spec, bool pin) {
  if (!version_id.empty() || !pipeline_id.empty()) {
    MR_CO_TRY(auto v, version_id.empty() ? store.latest_version(pipeline_id) : store.version("", version_id));
    if (!pipeline_id.empty() && v.pipeline_id != pipeline_id)
      co_return invalid(
          fmt::format("Pipeline version {} belongs to pipeline {} (not {})", version_id, v.pipeline_id, pipeline_id));
    pipeline_id = v.pipeline_id;
    if (pin || !version_id.empty()) {
      version_id = v.id;
      spec = std::move(v.spec);
      co_return co_await compile_spec(spec);
    }
    co_return co_await compile_spec(v.spec);
  }
  if (!spec.is_object() || spec.get_object().empty())
    co_return invalid("Failed to fetch a template with an empty pipeline spec manifest");
  co_return co_await compile_spec(spec);
}

task::Task<Result<>> Service::Impl::place(std::string& experiment_id, std::string& ns) {
  if (experiment_id.empty()) {
    ns = namespace_or_default(ns);
    MR_CO_TRY(auto e, co_await store.default_experiment(ns));
    experiment_id = e.id;
    co_return Result<>();
  }
  MR_CO_TRY(auto e, store.experiment(experiment_id));
  if (!ns.empty() && ns != e.ns)
    co_return invalid(fmt::format("Experiment {} belongs to namespace '{}' instead of '{}'", experiment_id, e.ns, ns));
  ns = e.ns;
  co_return Result<>();
}

Service::Service(Store& store, Runs& runs, ServiceOptions options)
    : impl_(new Impl{.store = store, .runs = runs, .options = std::move(options)}) {}
Service::~Service() = default;
Store& Service::store() const { return impl_->store; }
const ServiceOptions& Service::options() const { return impl_->options; }

void Service::add_routes(http::Router& router) {
  add_experiment_routes(router, *impl_);
  add_upload_routes(router, *impl_);
  add_pipeline_routes(router, *impl_);
  add_run_routes(router, *impl_);
  add_recurring_routes(router, *impl_);
  add_artifact_routes(router, *impl_);
  add_artifact_read_routes(router, *impl_);
  add_lineage_routes(router, *impl_);
  const auto answer = [&](std::string_view path, std::string_view text) {
    router.add(http::Method::get, path, [body = std::string(text)](http::Request&) -> task::Task<http::Response> {
      co_return http::Response::json(200, body);
    });
  };
  answer("/apis/v2beta1/healthz", R"({"multi_user":false,"pipeline_store":"database"})");
  answer("/apis/v1beta1/healthz", R"({"commit_sha":"","tag_name":"2.17.3","multi_user":false})");
  answer("/apis/v2beta1/auth", "{}");  // nobody is refused where there is one user
}

task::Task<Result<Run>> Service::Impl::submit(Run run) {
  if (run.name.empty()) co_return invalid("The run name is empty. Please specify a valid name");
  MR_CO_CHECK(co_await place(run.experiment_id, run.ns));
  MR_CO_TRY(auto plan, co_await resolve(run.pipeline_id, run.version_id, run.spec, true));
  MR_CO_CHECK(check_parameters(*plan, run.parameters));
  if (run.id.empty()) run.id = crypto::uuid4();
  run.pipeline_name = plan->name;
  run.resource_name = kube::generated_name(plan->name + "-");
  run.created_ms = now_ms();
  const auto at = run.scheduled_ms;
  if (run.scheduled_ms == 0) run.scheduled_ms = run.created_ms;
  run.finished_ms = 0;
  run.state = State::pending;
  run.error.reset();
  run.history = {{run.created_ms, State::pending, std::nullopt}};
  const auto id = run.id;
  Result<Run> made;
  if (!run.recurring_run_id.empty() && at != 0) {
    MR_CO_TRY(auto schedule, store.recurring(run.recurring_run_id));
    made = co_await store.create_scheduled(schedule.id, std::move(run), at, schedule.next_index + 1);
    if (made && made->id != id) co_return made;  // this time has had its run
  } else {
    made = co_await store.create_run(std::move(run));
  }
  if (made) runs.start(made->id);
  co_return made;
}

task::Task<Result<Run>> Service::submit(Run run) { return impl_->submit(std::move(run)); }

void add_endpoint(http::Router& router, Service::Impl& s, http::Method method, std::string_view path, Endpoint endpoint,
                  std::string_view context) {
  router.add(method, fmt::format("/apis/v2beta1{}", path),
             [&s, endpoint, context](http::Request& rq) -> task::Task<http::Response> {
               const auto refuse = [&](const Error& e) {
                 std::string text(context);
                 for (std::size_t i = 0; i < rq.params.size(); ++i) {
                   const auto mark = fmt::format("{{{}}}", i);
                   if (const auto at = text.find(mark); at != std::string::npos)
                     text.replace(at, mark.size(), rq.params[i]);
                 }
                 return error_response(e, text);
               };
               Call call{rq, text::parse_query(rq.query), {}};
               if (rq.method == http::Method::post || rq.method == http::Method::patch) {
                 auto body = co_await http::read_all(rq, body_limit);
                 if (!body) co_return refuse(body.error());
                 call.body = std::move(*body);
               }
               auto answer = co_await endpoint(s, call);
               if (!answer) co_return refuse(answer.error());
               co_return http::Response::json(200, std::move(*answer));
             });
}

Result<ListQuery> read_scoped_query(Service::Impl& s, const Call& c, const Collection& collection) {
  MR_TRY(auto q, read_list_query(c.query, collection));
  q.experiment_id = c.arg("experiment_id");
  if (q.experiment_id.empty())
    q.ns = s.namespace_or_default(c.arg("namespace"));
  else
    MR_CHECK(s.store.experiment(q.experiment_id));
  return q;
}

Result<void> check_length(std::string_view field, std::string_view value, std::size_t most) {
  if (value.size() > most) return invalid(fmt::format("{} length cannot exceed {}", field, most));
  return {};
}

Result<void> check_tags(const std::map<std::string, std::string>& tags) {
  constexpr std::size_t most = 20, longest = 63;
  if (tags.size() > most)
    return invalid(fmt::format("number of tags ({}) exceeds maximum of {} per entity", tags.size(), most));
  for (const auto& [key, value] : tags) {
    if (key.empty()) return invalid("tag key cannot be empty");
    if (key.find('.') != std::string::npos)
      return invalid(fmt::format("tag key \"{}\" must not contain '.' character", key));
    if (text::utf8_length(key) > longest)
      return invalid(fmt::format("tag key \"{}\" exceeds maximum length of {} characters", key, longest));
    if (text::utf8_length(value) > longest)
      return invalid(
          fmt::format("tag value \"{}\" for key \"{}\" exceeds maximum length of {} characters", value, key, longest));
  }
  return {};
}

}  // namespace mr::pipelines
