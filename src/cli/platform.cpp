#include "cli/platform.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "crypto/jwt.h"
#include "crypto/pki.h"
#include "gateway/gateway.h"
#include "gateway/mesh_watch.h"
#include "kube/bootstrap.h"
#include "kube/controllers/controllers.h"
#include "kube/names.h"
#include "kube/server.h"
#include "log/log.h"
#include "node/node.h"
#include "services/address.h"
#include "services/proxy.h"
#include "serving/agent.h"
#include "serving/controller/graph_controller.h"
#include "serving/controller/isvc_controller.h"
#include "serving/predictor.h"
#include "serving/router.h"
#include "text/text.h"

namespace mr::cli {

namespace {

constexpr const char* kNode = "millrace";
constexpr const char* kUserNamespace = "kubeflow-user-example-com";
constexpr int kServerDays = 3650;
constexpr int kAdminDays = 3650;

Result<std::string> read_text(const std::string& path) {
  std::error_code ec;
  auto size = std::filesystem::file_size(path, ec);
  if (ec) return fail(Code::not_found, fmt::format("{} cannot be read", path));
  std::string text(size, '\0');
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0 || ::read(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(size))
    return fail(Code::internal, fmt::format("{} cannot be read", path));
  return text;
}

// Everything that proves who is who: the authority, the server's and the administrator's certificates, the key that
// signs tokens.
struct Identity {
  crypto::KeyPair ca, server, admin;
  std::optional<crypto::JwtKey> tokens;
};

Result<Identity> make_identity(const std::string& folder, const std::string& address) {
  std::error_code ec;
  std::filesystem::create_directories(folder, ec);
  std::filesystem::permissions(folder, std::filesystem::perms::owner_all, ec);
  Identity id;
  MR_TRY(id.ca, crypto::load_or_make_pair(folder + "/ca", [] { return crypto::make_authority("millrace"); }));
  auto server = [&]() -> Result<crypto::KeyPair> {
    crypto::CertificateSpec spec;
    spec.common_name = "millrace-apiserver";
    spec.dns_names = {"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
                      "kubernetes.default.svc.cluster.local"};
    spec.addresses = {"127.0.0.1"};
    if (address != "127.0.0.1" && address != "localhost") spec.addresses.push_back(address);
    spec.days = kServerDays;
    return crypto::issue_certificate(id.ca, spec);
  };
  MR_TRY(id.server, crypto::load_or_make_pair(folder + "/apiserver", server));
  // Another --listen address needs a certificate that names it.
  if (auto info = crypto::read_certificate(id.server.certificate_pem);
      !info ||
      std::ranges::find(info->addresses, address == "localhost" ? "127.0.0.1" : address) == info->addresses.end()) {
    MR_TRY(id.server, server());
    MR_CHECK(crypto::write_private_file(folder + "/apiserver.crt", id.server.certificate_pem));
    MR_CHECK(crypto::write_private_file(folder + "/apiserver.key", id.server.key_pem));
  }
  MR_TRY(id.admin, crypto::load_or_make_pair(folder + "/admin", [&] {
           return crypto::issue_certificate(id.ca, {.common_name = "admin",
                                                    .organizations = {"system:masters"},
                                                    .dns_names = {},
                                                    .addresses = {},
                                                    .days = kAdminDays});
         }));
  auto key_file = folder + "/service-account.key";
  if (std::filesystem::exists(key_file)) {
    MR_TRY(auto pem, read_text(key_file));
    MR_TRY(auto key, crypto::JwtKey::from_pem(pem));
    id.tokens = std::move(key);
  } else {
    MR_TRY(auto key, crypto::JwtKey::generate());
    MR_CHECK(crypto::write_private_file(key_file, key.pem()));
    id.tokens = std::move(key);
  }
  return id;
}

// A kubeconfig of the administrator, whose context stands in the user's namespace.
std::string kubeconfig_text(const Identity& id, const std::string& url) {
  return fmt::format(
      "apiVersion: v1\nkind: Config\ncurrent-context: millrace\nclusters:\n- name: millrace\n  cluster:\n    server: "
      "{}\n"
      "    certificate-authority-data: {}\nusers:\n- name: admin\n  user:\n    client-certificate-data: {}\n"
      "    client-key-data: {}\ncontexts:\n- name: millrace\n  context:\n    cluster: millrace\n    user: admin\n"
      "    namespace: {}\npreferences: {{}}\n",
      url, text::base64_encode(id.ca.certificate_pem), text::base64_encode(id.admin.certificate_pem),
      text::base64_encode(id.admin.key_pem), kUserNamespace);
}

}  // namespace

struct Platform::Impl {
  task::Loops& loops;
  PlatformOptions options;
  task::Loops control{1};  // controllers, the node: one loop of their own
  std::unique_ptr<sql::Database> db;
  std::unique_ptr<kube::Store> store;
  kube::Kinds kinds;
  Identity identity;
  std::optional<kube::Authorizer> authorizer;
  std::optional<kube::Tokens> tokens;
  std::optional<kube::Api> api;
  std::optional<kube::EmbeddedClient> client;
  std::optional<kube::EmbeddedClient>
      outside;  // for other rooms: a Manager ends the watches of its client when it stops
  std::optional<kube::Manager> manager;
  std::optional<services::ServiceProxy> proxy;
  std::optional<gateway::MeshWatch> mesh;
  std::optional<node::Node> node;
  std::optional<serving::IsvcController> isvc;
  std::optional<serving::GraphController> graphs;
  std::optional<serving::TrainedModelController> trained_models;
  std::optional<kube::Server> server;
  std::shared_ptr<http::TlsContext> tls;
  bool started = false;

  Impl(task::Loops& l, PlatformOptions o) : loops(l), options(std::move(o)) {}
  // What the controllers have put on their loop by now must not find the store gone, when a start fails half way.
  ~Impl() { control.stop(); }

  Result<> open() {
    if (options.address != "localhost" && !kube::is_ip(options.address))
      return fail(Code::invalid_argument,
                  fmt::format("cannot listen on '{}': it is neither an IP address nor localhost", options.address));
    MR_TRY(db, sql::Database::open_sqlite(options.data + "/kube.db"));
    MR_TRY(store, kube::Store::open(*db));
    kube::register_stored_crds(*store, kinds);
    MR_TRY(identity, make_identity(options.data + "/pki", options.address));
    auto host = options.address == "localhost" ? std::string("127.0.0.1") : options.address;
    auto url = fmt::format("https://{}:{}", host, options.api_port);
    auto config = kubeconfig_text(identity, url);
    auto path = options.data + "/kubeconfig";
    auto there = read_text(path);
    if (!there || *there != config) MR_CHECK(crypto::write_private_file(path, config));
    MR_TRY(tls, http::TlsContext::make({.certificate_pem = identity.server.certificate_pem,
                                        .key_pem = identity.server.key_pem,
                                        .client_ca_pem = identity.ca.certificate_pem}));
    auto data = options.data;
    kube::Hooks hooks;
    hooks.allocate_cluster_ip = [data](const std::set<std::string>& used, const kube::Key& service) {
      return services::allocate_cluster_ip(used, services::address_seed(data, service.ns, service.name));
    };
    hooks.in_cluster_range = services::in_cluster_range;
    hooks.cluster_range = services::kClusterRange;
    kube::BootstrapOptions first;
    first.user_namespace = kUserNamespace;
    first.api_port = options.api_port;
    auto existing = store->get("services", {"default", "kubernetes"});
    first.kubernetes_ip =
        existing ? std::string(kube::text_at(*existing, "spec.clusterIP"))
                 : services::allocate_cluster_ip({}, services::address_seed(data, "default", "kubernetes"));
    MR_CHECK(store->seed_blocking(kube::bootstrap_objects(kinds, first)));

    authorizer.emplace(*store);
    tokens.emplace(*store, std::move(*identity.tokens), "https://kubernetes.default.svc.cluster.local");
    api.emplace(*store, kinds, std::move(hooks));
    client.emplace(*api, kube::system_user(), "millrace");
    outside.emplace(*api, kube::system_user(), "millrace");
    auto& loop = control.at(0);
    manager.emplace(loop, *client);
    kube::add_namespace_controller(*manager, *api, identity.ca.certificate_pem);
    kube::add_garbage_collector(*manager, *api);
    kube::add_scheduler(*manager, *api, kNode);
    kube::add_claim_protection(*manager, *api);
    kube::add_event_expiry(*manager, *api);
    kube::add_policy_marks(*manager);
    kube::add_replicaset_controller(*manager);
    kube::add_deployment_controller(*manager);
    kube::add_statefulset_controller(*manager);
    kube::add_daemonset_controller(*manager, kNode);
    kube::add_job_controller(*manager);
    kube::add_endpoints_controller(*manager);
    kube::add_profile_controller(*manager, kinds);
    kube::add_notebook_controller(*manager, kinds);
    proxy.emplace(loops, *manager);
    mesh.emplace(*manager);
    node::NodeOptions n;
    n.name = kNode;
    n.data_folder = options.data;
    n.api_url = url;
    n.images = options.images;
    n.container_engine = options.container_engine;
    n.warm_interpreters = options.warm_interpreters;
    n.min_free_disk = options.min_free_disk;
    n.program = "/proc/self/exe";
    n.ca_pem = identity.ca.certificate_pem;
    n.hosts = [this](std::string_view ns) { return proxy->hosts(ns); };
    n.issue_token = [this](const node::TokenRequest& r) -> Result<std::string> {
      auto account = store->latest("serviceaccounts", {r.ns, r.service_account});
      if (!account) return fail(Code::not_found, fmt::format("serviceaccount \"{}\" not found", r.service_account));
      std::vector<std::string> audiences;
      if (!r.audience.empty()) audiences.push_back(r.audience);
      kube::Object pod = kube::make_object("v1", "Pod", r.ns, r.pod_name);
      kube::metadata(pod)["uid"] = r.pod_uid;
      MR_TRY(auto issued, tokens->issue(*account, audiences, r.expiry_s, &pod));
      return issued.token;
    };
    node.emplace(loop, *manager, std::move(n));
    serving::PredictorOptions predictor;
    predictor.storage = options.storage;
    predictor.storage.resolve = [this](const std::string& h, int p) { return resolve(h, p); };
    predictor.cache = options.model_cache;
    predictor.load = options.load;
    node->add_runtime("millrace/predictor", serving::make_predictor_runtime(loops, predictor));
    node->add_runtime("millrace/storage-initializer", serving::make_initializer_runtime(predictor));
    node->add_runtime("millrace/agent", serving::make_agent_runtime(loops, {predictor.storage.resolve}));
    node->add_runtime("millrace/router", serving::make_router_runtime(loops, {predictor.storage.resolve}));
    for (auto& [image, part] : options.parts) node->add_runtime(image, make_part_runtime(proxy->relays(), part));
    serving::ControllerOptions serve;
    serve.routing.gateway_address = options.address;
    serve.routing.gateway_port = options.gateway_port;
    serve.demand = &proxy->demand();
    serve.scale = {.window_ms = options.scale_window_ms, .grace_ms = options.scale_grace_ms};
    serve.connected = [this](const kube::Key& revision) {
      for (const auto* suffix : {"", "-private"})
        if (auto s = proxy->directory().find(revision.ns, revision.name + suffix))
          for (const auto& p : s->ports)
            for (const auto& e : p->ready)
              if (e->active.load() > 0) return true;
      return false;
    };
    isvc.emplace(*manager, serve);
    graphs.emplace(*manager, serve.routing);
    trained_models.emplace(*manager);
    server.emplace(kube::ServerDeps{.api = &*api,
                                    .authorizer = &*authorizer,
                                    .tokens = &*tokens,
                                    .pods = &*node,
                                    .program_version = options.version,
                                    .address = fmt::format("{}:{}", host, options.api_port)});
    return {};
  }

  std::string resolve(const std::string& host, int port) const {
    auto parts = text::split(host, '.');
    if (parts.size() < 2 || (parts.size() > 2 && parts[2] != "svc")) return {};
    auto service = proxy->directory().find(parts[1], parts[0]);
    if (!service) return {};
    const auto* p = service->find(static_cast<std::uint16_t>(port));
    if (p == nullptr) return {};
    auto endpoint = services::pick(*p);
    if (!endpoint) return {};
    return fmt::format("{}:{}", endpoint->ip, endpoint->port);
  }

  task::Task<void> publish() {
    // A MariaDB that is no longer asked for leaves no Service behind.
    if (!options.mysql) {
      kube::Key key{"kubeflow", "mysql"};
      auto d = api->store().get("deployments.apps", key);
      if (d && kube::text_at(*d, "spec.template.spec.containers.0.image") == "millrace/mysql")
        for (const auto& r : {kube::gvr::deployments, kube::gvr::services})
          (void)co_await client->remove(r, key, kube::Propagation::background, {});
    }
    for (auto& o : builtin_objects(options.mysql)) {
      auto kind = std::string(kube::kind_of(o));
      auto r = kind == "Deployment" ? kube::gvr::deployments
               : kind == "Service"  ? kube::gvr::services
                                    : kube::gvr::gateways;
      auto key = kube::key_of(o);
      if (api->store().get(r.group.empty() ? r.plural : r.plural + "." + r.group, key)) continue;
      auto made = co_await client->create(r, std::move(o));
      if (!made && made.error().reason != "AlreadyExists")
        log::error("a part of the platform cannot be published",
                   {{"kind", kind}, {"name", key.name}, {"error", made.error().message}});
    }
    co_await serving::publish_runtimes(*client);
  }
};

Platform::Platform(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Platform::~Platform() { stop(); }

Result<std::unique_ptr<Platform>> Platform::open(task::Loops& loops, PlatformOptions options) {
  auto impl = std::make_unique<Impl>(loops, std::move(options));
  MR_CHECK(impl->open());
  return std::unique_ptr<Platform>(new Platform(std::move(impl)));
}

http::Handler Platform::handler() {
  return [s = &*impl_->server](http::Request& r) { return s->handle(r); };
}
std::shared_ptr<const http::TlsContext> Platform::tls() const { return impl_->tls; }
http::Handler Platform::gateway(http::Handler fallback) {
  return gateway::make_gateway({.table = [m = &*impl_->mesh] { return m->table(); },
                                .directory = &impl_->proxy->directory(),
                                .demand = &impl_->proxy->demand(),
                                .fallback = std::move(fallback)});
}
http::TakeOver Platform::gateway_http2(std::string address, std::uint16_t port) {
  return gateway::make_http2({.table = [m = &*impl_->mesh] { return m->table(); },
                              .directory = &impl_->proxy->directory(),
                              .demand = &impl_->proxy->demand(),
                              .fallback = {},
                              .grpc_address = std::move(address),
                              .grpc_port = port});
}
std::string Platform::resolve(const std::string& host, int port) const { return impl_->resolve(host, port); }

kube::Client& Platform::client() { return *impl_->outside; }
kube::Pods& Platform::pods() { return *impl_->node; }

void Platform::start() {
  impl_->started = true;
  impl_->proxy->start();
  impl_->mesh->start();
  impl_->node->start();
  impl_->manager->start();
  impl_->control.at(0).post([i = impl_.get()] { task::detach(i->publish()); });
}

void Platform::stop() {
  if (!impl_->started) return;
  impl_->started = false;
  impl_->proxy->demand().stop();
  impl_->node->stop();
  impl_->store->on_commit(nullptr);
  impl_->manager->stop();
  impl_->store->close_watches();  // those of HTTP clients
  impl_->mesh->stop();
  impl_->proxy->stop();
  impl_->store->stop();
  impl_->control.stop();
  impl_->db->stop();
}

}  // namespace mr::cli
