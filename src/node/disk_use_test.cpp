#include "node/disk_use.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "crypto/random.h"
#include "json/parse.h"

namespace mr::node {
namespace {

namespace fs = std::filesystem;

class DiskUse : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = (fs::temp_directory_path() / ("mr-disk-" + crypto::random_hex(6))).string();
    fs::create_directories(root_ + "/containers/main/tmp");
    fs::create_directories(root_ + "/logs/main");
    fs::create_directories(root_ + "/volumes/scratch");
    fs::create_directories(root_ + "/elsewhere");
  }
  void TearDown() override { fs::remove_all(root_); }

  void fill(const std::string& path, std::size_t bytes) const {
    std::ofstream(root_ + "/" + path, std::ios::binary) << std::string(bytes, 'x');
  }
  [[nodiscard]] PodFolders folders() const {
    return {root_ + "/containers",
            root_ + "/logs",
            {{"scratch", root_ + "/volumes/scratch"}, {"outputs", root_ + "/elsewhere"}}};
  }
  static kube::Object pod(const std::string& text) { return json::parse(text)->get_object(); }
  [[nodiscard]] std::optional<std::string> judged(const std::string& text) const {
    return over_limit(disk_users(pod(text), folders()));
  }
  std::string root_;
  static constexpr std::int64_t kAll = std::numeric_limits<std::int64_t>::max();
};

TEST_F(DiskUse, CountsWhatTheDiskHolds) {
  const auto before = disk_use({root_}, kAll);
  fill("volumes/scratch/a", 1 << 20);
  EXPECT_GE(disk_use({root_}, kAll), before + (1 << 20));
  const auto one = disk_use({root_}, kAll);
  // A second name of the same bytes, a link out of the folder, and a hole take (next to) nothing.
  fs::create_hard_link(root_ + "/volumes/scratch/a", root_ + "/volumes/scratch/b");
  fs::create_directory_symlink("/usr", root_ + "/volumes/scratch/usr");
  fill("volumes/scratch/hole", 0);
  ASSERT_EQ(::truncate((root_ + "/volumes/scratch/hole").c_str(), 1 << 30), 0);
  EXPECT_LT(disk_use({root_}, kAll), one + (64 << 10));
  EXPECT_EQ(disk_use({root_ + "/no/such/folder"}, kAll), 0);
}

TEST_F(DiskUse, StopsOnceThereIsEnough) {
  for (int i = 0; i < 50; ++i) fill(fmt::format("volumes/scratch/{}", i), 1 << 20);
  EXPECT_LT(disk_use({root_ + "/volumes/scratch"}, 5 << 20), 10 << 20);
}

TEST_F(DiskUse, AnEmptyDirHasItsOwnLimit) {
  const std::string with = R"({"spec": {"volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Mi"}}],
    "containers": [{"name": "main"}]}})";
  EXPECT_EQ(judged(with), std::nullopt);
  fill("volumes/scratch/a", 2 << 20);
  EXPECT_EQ(judged(with), "Usage of EmptyDir volume \"scratch\" exceeds the limit \"1Mi\". ");
  EXPECT_EQ(judged(R"({"spec": {"volumes": [{"name": "scratch", "emptyDir": {}}], "containers": [{"name": "main"}]}})"),
            std::nullopt);
}

TEST_F(DiskUse, AContainersLimitCountsItsFilesAndItsLog) {
  const std::string with = R"({"spec": {"volumes": [{"name": "scratch", "emptyDir": {}}], "containers": [
    {"name": "main", "resources": {"limits": {"ephemeral-storage": "1Mi"}}}, {"name": "other"}]}})";
  fill("containers/main/tmp/a", 900 << 10);
  fill("volumes/scratch/a", 4 << 20);  // no container's own
  EXPECT_EQ(judged(with), std::nullopt);
  fill("logs/main/0.log", 300 << 10);
  EXPECT_EQ(judged(with), "Container main exceeded its local ephemeral storage limit \"1Mi\". ");
}

TEST_F(DiskUse, APodsLimitIsTheSumOfItsContainers) {
  const std::string with = R"({"spec": {"volumes": [{"name": "scratch", "emptyDir": {}}], "containers": [
    {"name": "main", "resources": {"limits": {"ephemeral-storage": "1Mi"}}},
    {"name": "other", "resources": {"limits": {"ephemeral-storage": "1Mi"}}}]}})";
  fill("volumes/scratch/a", 1 << 20);
  EXPECT_EQ(judged(with), std::nullopt);
  fill("volumes/scratch/b", 2 << 20);
  EXPECT_EQ(judged(with), "Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. ");
}

TEST_F(DiskUse, AStepsLimitCountsTheFoldersThatItNames) {
  const std::string with = R"({"metadata": {"annotations": {"millrace.dev/ephemeral-storage-limit": "1Mi",
    "millrace.dev/counted-volumes": "outputs"}}, "spec": {"volumes": [{"name": "outputs", "hostPath": {"path": "/x"}}],
    "containers": [{"name": "main"}]}})";
  EXPECT_EQ(judged(with), std::nullopt);
  fill("elsewhere/a", 2 << 20);
  EXPECT_EQ(judged(with), "Container main exceeded its local ephemeral storage limit \"1Mi\". ");
  EXPECT_EQ(pod_disk(pod(with), folders()).back(), root_ + "/elsewhere");
}

TEST_F(DiskUse, LimitsThatAreNoneLimitNothing) {
  fill("volumes/scratch/a", 2 << 20);
  for (const char* limit : {"0", "\"0\"", "\"many\"", "null", "\"-1Mi\""})
    EXPECT_EQ(judged(fmt::format(R"({{"spec": {{"volumes": [{{"name": "scratch", "emptyDir": {{"sizeLimit": {}}}}}],
      "containers": [{{"name": "main"}}]}}}})",
                                 limit)),
              std::nullopt)
        << limit;
  EXPECT_TRUE(disk_users({}, folders()).empty());
}

}  // namespace
}  // namespace mr::node
