// The pages by their addresses; each part of the platform is loaded when it is first opened.
import type { ComponentType } from "preact";

type Loader = () => Promise<{ default: ComponentType<never> }>;
export const routes: Record<string, Loader> = {
  "/pipelines": () => import("./pages/pipelines"),
  "/pipelines/runs/{id}": () => import("./pages/run"),
  "/pipelines/definitions/{id}": () => import("./pages/definition"),
  "/experiments": () => import("./pages/experiments"),
  "/experiments/{id}": () => import("./pages/experiment"),
  "/experiments/{id}/compare": () => import("./pages/compare"),
  "/experiments/{experiment}/runs/{id}": () => import("./pages/tracked"),
};
