#include "cli/client_config.h"

#include <yaml-cpp/yaml.h>

#include <fstream>
#include <sstream>

#include "text/text.h"

namespace mr::cli {

namespace fs = std::filesystem;

namespace {

struct File {
  fs::path folder;  // what relative paths in it start from
  YAML::Node root;
};

Result<std::string> read_file(const fs::path& path) {
  std::ifstream in(path);
  std::stringstream all;
  all << in.rdbuf();
  if (!in) return fail(Code::failed_precondition, fmt::format("{} cannot be read", path.string()));
  return all.str();
}

// The entry NAME of a list like `clusters`, and the file that it stands in.
struct Found {
  YAML::Node node;
  fs::path folder;
};
Result<Found> entry(const std::vector<File>& files, const char* list, const char* member, const std::string& name) {
  for (const auto& f : files) {
    const YAML::Node items = f.root[list];
    if (!items.IsDefined() || !items.IsSequence()) continue;
    for (const auto& item : items)
      if (item["name"].as<std::string>("") == name && item[member].IsMap()) return Found{item[member], f.folder};
  }
  return fail(Code::invalid_argument, fmt::format("the kubeconfig has no entry '{}' under {}", name, list));
}

std::string text_of(const YAML::Node& map, const char* key) {
  const YAML::Node n = map[key];
  return n.IsDefined() && n.IsScalar() ? n.as<std::string>() : std::string();
}

// KEY-data in base64, or the file that KEY names.
Result<std::string> material(const Found& f, const std::string& key) {
  if (auto data = text_of(f.node, (key + "-data").c_str()); !data.empty()) {
    auto bytes = text::base64_decode(data);
    if (!bytes) return fail(Code::invalid_argument, fmt::format("{}-data in the kubeconfig is not base64", key));
    return *bytes;
  }
  auto path = text_of(f.node, key.c_str());
  if (path.empty()) return std::string();
  return read_file(f.folder / path);
}

Result<Access> access_of(const std::vector<File>& files) {
  std::string context;
  for (const auto& f : files)
    if (context.empty()) context = text_of(f.root, "current-context");
  if (context.empty())
    return fail(Code::invalid_argument, "the kubeconfig has no current-context: it says which server to speak to");
  MR_TRY(auto ctx, entry(files, "contexts", "context", context));
  MR_TRY(auto cluster, entry(files, "clusters", "cluster", text_of(ctx.node, "cluster")));
  Access a;
  a.ns = text_of(ctx.node, "namespace");
  if (a.ns.empty()) a.ns = "default";
  a.server = text_of(cluster.node, "server");
  while (a.server.ends_with('/')) a.server.pop_back();
  if (a.server.empty()) return fail(Code::invalid_argument, "the kubeconfig's cluster names no server");
  MR_TRY(a.tls.ca_pem, material(cluster, "certificate-authority"));
  a.tls.server_name = text_of(cluster.node, "tls-server-name");
  a.tls.insecure = text_of(cluster.node, "insecure-skip-tls-verify") == "true";
  auto user_name = text_of(ctx.node, "user");
  if (user_name.empty()) return a;
  MR_TRY(auto user, entry(files, "users", "user", user_name));
  MR_TRY(a.tls.certificate_pem, material(user, "client-certificate"));
  MR_TRY(a.tls.key_pem, material(user, "client-key"));
  a.token = text_of(user.node, "token");
  if (auto file = text_of(user.node, "tokenFile"); a.token.empty() && !file.empty()) {
    MR_TRY(auto token, read_file(user.folder / file));
    a.token = text::trim(token);
  }
  if (a.token.empty() && a.tls.certificate_pem.empty() && (user.node["exec"] || user.node["auth-provider"]))
    return fail(Code::invalid_argument,
                fmt::format("user '{}' of the kubeconfig gets its credentials from another program, which millrace "
                            "does not run; use kubectl, or a token or client certificate",
                            user_name));
  return a;
}

}  // namespace

Result<Access> read_access(const std::vector<std::string>& paths) {
  std::vector<File> files;
  for (const auto& path : paths) {
    auto text = read_file(path);
    if (!text && paths.size() > 1) continue;  // a list may name files that are not there
    if (!text)
      return fail(Code::failed_precondition,
                  fmt::format("there is no kubeconfig at {}: start the platform with `millrace up`, or name its folder "
                              "with --data, or a kubeconfig with --kubeconfig or KUBECONFIG",
                              path));
    try {
      files.push_back({fs::absolute(path).parent_path(), YAML::Load(*text)});
    } catch (const YAML::Exception& e) {
      return fail(Code::invalid_argument, fmt::format("{} is no kubeconfig: {}", path, e.what()));
    }
    if (!files.back().root.IsMap()) return fail(Code::invalid_argument, fmt::format("{} is no kubeconfig", path));
  }
  if (files.empty()) return fail(Code::failed_precondition, "none of the files in KUBECONFIG can be read");
  try {
    return access_of(files);
  } catch (const YAML::Exception& e) {
    return fail(Code::invalid_argument, "the kubeconfig is malformed", {}, e.what());
  }
}

}  // namespace mr::cli
