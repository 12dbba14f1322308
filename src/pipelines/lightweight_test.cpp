#include "pipelines/lightweight.h"

#include <gtest/gtest.h>

namespace mr::pipelines {
namespace {

const std::string kInstall =
    "\nif ! [ -x \"$(command -v pip)\" ]; then\n    python3 -m ensurepip || apt-get install python3-pip\nfi\n\n"
    "PIP_DISABLE_PIP_VERSION_CHECK=1 python3 -m pip install --quiet --no-warn-script-location --index-url "
    "https://packages.example/simple --trusted-host https://packages.example 'pandas==2.1.4' 'x>1,<2'  &&  python3 -m "
    "pip "
    "install --quiet --no-warn-script-location 'kfp==2.17.3' '--no-deps' 'typing-extensions>=3.7.4,<5; "
    "python_version<\"3.9\"' && \"$0\" \"$@\"\n";
const std::string kBootstrap =
    "program_path=$(mktemp -d)\n\nprintf \"%s\" \"$0\" > \"$program_path/ephemeral_component.py\"\n_KFP_RUNTIME=true "
    "python3 "
    "-m kfp.dsl.executor_main --component_module_path \"$program_path/ephemeral_component.py\" \"$@\"\n";

TEST(Lightweight, TheSdksCommandIsRecognised) {
  auto l = recognise({"sh", "-c", kInstall, "sh", "-ec", kBootstrap, "def f(): pass\n"});
  ASSERT_TRUE(l);
  EXPECT_EQ(l->source, "def f(): pass\n");
  EXPECT_EQ(l->requirements,
            "--index-url https://packages.example/simple\npandas==2.1.4\nx>1,<2\nsetuptools<81\n#no-deps kfp==2.17.3\n"
            "#no-deps typing-extensions>=3.7.4,<5; python_version<\"3.9\"\n");
}

TEST(Lightweight, WithoutAnInstallation) {
  auto l = recognise({"sh", "-ec", kBootstrap, "source"});
  ASSERT_TRUE(l);
  EXPECT_EQ(l->source, "source");
}

TEST(Lightweight, OtherCommandsStayAsTheyAre) {
  EXPECT_FALSE(recognise({}));
  EXPECT_FALSE(recognise({"sh", "-c", "echo hello"}));
  EXPECT_FALSE(recognise({"sh", "-c", "echo", "sh", "-ec", kBootstrap, "source"}));
  EXPECT_FALSE(recognise({"python3", "-m", "kfp.dsl.executor_main", "x"}));
}

}  // namespace
}  // namespace mr::pipelines
