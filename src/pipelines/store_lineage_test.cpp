#include <gtest/gtest.h>

#include "await.h"
#include "pipelines/routes.h"
#include "temp_dir.h"

namespace mr::pipelines {
namespace {

class LineageTest : public ::testing::Test {
 protected:
  mr::testing::TempDir folder;
  task::Loops loops{1};
  std::unique_ptr<Store> store = std::move(*Store::open(folder.file("pipelines.db")));

  std::int64_t record(const std::string& run, const std::string& node, const std::string& key, bool output,
                      const std::string& uri, const std::string& ns = "kubeflow") {
    Artifact a;
    a.uri = uri;
    a.type.title = "system.Dataset";
    return mr::testing::await_on(loops, store->record_artifacts(ns, run, node, key, output, {a})).value()[0].id;
  }
};

TEST_F(LineageTest, GoesFromAnArtifactToTheStepThatMadeItAndOn) {
  pipelines::Run r;
  r.name = "nightly";
  r.ns = "kubeflow";
  r.pipeline_name = "churn";
  r.spec = Object{{"pipelineInfo", Object{{"name", "churn"}}}};
  auto run = mr::testing::await_on(loops, store->create_run(r)).value();
  auto raw = record(run.id, "import", "artifact", true, "s3://b/raw");
  record(run.id, "split", "raw", false, "s3://b/raw");
  auto train = record(run.id, "split", "train", true, "s3://b/train");
  auto test = record(run.id, "split", "test", true, "s3://b/test");
  record("other", "fit", "data", false, "s3://b/train");
  auto model = record("other", "fit", "model", true, "s3://b/model");
  record("other", "fit", "base", false, "s3://b/base");
  record("third", "serve/0/load", "model", false, "s3://b/model");

  auto l = store->lineage(model, 100).value();
  ASSERT_EQ(l.artifacts.size(), 4U);
  EXPECT_EQ(l.artifacts[0].artifact.id, model);
  EXPECT_EQ(l.artifacts[1].artifact.id, train);
  EXPECT_EQ(l.artifacts[2].artifact.uri, "s3://b/base");
  EXPECT_EQ(l.artifacts[3].artifact.id, raw);
  ASSERT_EQ(l.steps.size(), 3U);
  EXPECT_EQ(l.steps[0].node, "fit");
  EXPECT_EQ(l.steps[0].run_name, "");
  EXPECT_EQ(l.steps[1].run_name, "nightly");
  EXPECT_EQ(l.steps[1].pipeline_name, "churn");
  EXPECT_EQ(l.steps[1].outputs.size(), 2U);
  ASSERT_EQ(l.readers.size(), 1U);
  EXPECT_EQ(l.readers[0].node, "serve/0/load");
  EXPECT_FALSE(l.cut);

  l = store->lineage(test, 100).value();
  EXPECT_EQ(l.artifacts.size(), 2U);
  EXPECT_TRUE(l.readers.empty());
  l = store->lineage(model, 2).value();
  EXPECT_EQ(l.artifacts.size(), 2U);
  EXPECT_TRUE(l.cut);
  EXPECT_EQ(store->lineage(99, 10).error().code, Code::not_found);
}

TEST_F(LineageTest, AnArtifactThatAStepReadAndWroteEnds) {
  record("r", "a", "in", false, "s3://b/x");
  auto x = record("r", "a", "out", true, "s3://b/x");
  auto l = store->lineage(x, 10).value();
  EXPECT_EQ(l.artifacts.size(), 1U);
  EXPECT_EQ(l.steps.size(), 1U);
}

TEST_F(LineageTest, UrisAreFoundByAnyOfTheirNames) {
  auto id = record("r", "a", "out", true, "s3://b/run/model");
  auto other = record("r", "a", "out", true, "s3://b/run/model", "team");
  EXPECT_EQ(*store->find_artifact("kubeflow", names_of_uri("s3://b/run/model")), id);
  EXPECT_EQ(*store->find_artifact("", names_of_uri("s3://b/run/model")), other);
  EXPECT_EQ(*store->find_artifact("kubeflow", names_of_uri("minio://b/run/model/")), id);
  EXPECT_EQ(*store->find_artifact("kubeflow", names_of_uri("/s3/b/run/model/data/part-0")), id);
  EXPECT_FALSE(store->find_artifact("kubeflow", names_of_uri("s3://b/run/models")));
  EXPECT_EQ(names_of_uri("mlflow-artifacts:/1/R/artifacts")[1], "s3://mlflow-artifacts/1/R/artifacts");
  EXPECT_EQ(names_of_uri("https://h/a/b"), (std::vector<std::string>{"https://h/a/b", "https://h/a"}));
  EXPECT_EQ(names_of_uri("/data/x"), (std::vector<std::string>{"/data/x", "/data"}));
}

}  // namespace
}  // namespace mr::pipelines
