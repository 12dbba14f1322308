#include "cli/builtin_parts.h"

#include <future>

namespace mr::cli {
namespace {

TEST(PartLog, DeliversWhatWasSaidAndWhatComes) {
  task::Loops loops(1);
  PartLog log;
  log.line("before");
  std::mutex mutex;
  std::string got;
  std::shared_ptr<void> handle;
  std::promise<void> attached;
  loops.at(0).post([&] {
    handle = log.attach([&](std::string_view s) {
      std::lock_guard guard(mutex);
      got += s;
    });
    attached.set_value();
  });
  attached.get_future().wait();
  log.line("after");
  auto has = [&](std::string_view s) {
    for (int i = 0; i < 500; ++i) {
      {
        std::lock_guard guard(mutex);
        if (got.find(s) != std::string::npos) return true;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  };
  EXPECT_TRUE(has("before\nafter\n")) << got;
  for (int i = 0; i < 2000; ++i) log.line("flood");
  EXPECT_TRUE(has("more lines left out")) << got;
  handle.reset();
  loops.stop();
}

TEST(BuiltinObjects, AreWhatTheReferenceInstallationNames) {
  std::map<std::string, kube::Object> by_name;
  for (auto& o : builtin_objects(true)) by_name[fmt::format("{}/{}", kube::kind_of(o), kube::name_of(o))] = o;
  for (const char* name : {"Deployment/mlflow", "Deployment/minio", "Deployment/mysql", "Service/mlflow",
                           "Service/minio-service", "Service/mysql", "Gateway/kubeflow-gateway"}) {
    ASSERT_TRUE(by_name.contains(name)) << name;
    EXPECT_EQ(kube::namespace_of(by_name[name]), "kubeflow");
  }
  for (const char* app : {"mlflow", "minio", "mysql"}) {
    const auto& d = by_name[fmt::format("Deployment/{}", app)];
    EXPECT_EQ(kube::text_at(d, "spec.template.metadata.labels.app"), app);
    EXPECT_TRUE(kube::text_at(d, "spec.template.spec.containers.0.image").starts_with("millrace/"));
  }
  EXPECT_EQ(kube::array_at(by_name["Service/mlflow"], "spec.ports").size(), 2U);
  EXPECT_EQ(kube::text_at(by_name["Service/mlflow"], "spec.selector.app"), "mlflow");
  EXPECT_EQ(builtin_objects(false).size() + 2, builtin_objects(true).size());
}

}  // namespace
}  // namespace mr::cli
