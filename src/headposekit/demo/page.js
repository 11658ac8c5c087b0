"use strict";

const $ = (id) => document.getElementById(id);
const OPTIONS = ["detector", "draw", "field_of_view", "camera_pitch"];
const ANGLES = ["yaw", "pitch", "roll"];
let setup; // what the server offers
let shown = null; // the picture in hand: file, name, true poses
let asked = 0; // so that a late answer does not cover a newer one
let stream = null; // of the camera
let live = {}; // what makes its frames one video

function make(tag, content = [], properties = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...[content].flat());
  return element;
}

function say(text, isWrong = false) {
  $("message").textContent = text;
  $("message").classList.toggle("wrong", isWrong);
}

function refuse(text) {
  say(text, true);
  $("result").hidden = true;
  stopCamera();
}

const degrees = (angle) => (angle < 0 ? "−" : "+") + Math.abs(angle).toFixed(1);

async function estimate(file, name, truth) {
  const number = ++asked;
  shown = [file, name, truth];
  if (file.size > 1e6 * setup.max_megabytes) return refuse(`${name}: more than ${setup.max_megabytes} MB; make it smaller`);
  if (!stream) say("…");
  const query = new URLSearchParams({ name, ...Object.fromEntries(OPTIONS.map((id) => [id, $(id).value])), ...(stream ? live : {}) });
  let answer;
  try {
    answer = await (await fetch(`poses?${query}`, { method: "POST", body: file })).json();
  } catch {
    answer = { error: "no answer; is demo.py still running?" };
  }
  if (number !== asked) return;
  if (answer.error) return refuse(`${name}: ${answer.error}`);
  await show(answer, $("field_of_view").value || $("camera_pitch").value ? [] : truth); // truths are along the ray to each head
  const hint = answer.faces.length ? "" : "; try another way to find them; none takes the whole picture for a face";
  say(`${name}: ${answer.faces.length || "no"} face${answer.faces.length === 1 ? "" : "s"}${hint}`, !answer.faces.length);
}

async function show(answer, truth) {
  const several = setup.networks.length > 1;
  const images = answer.pictures.map((src, index) => make("img", [], { src, alt: `poses by ${setup.networks[index].name}` }));
  const figures = setup.networks.map(({ name, about }, index) =>
    make("figure", [images[index], make("figcaption", [make("b", name), ` ${about}`])]));
  await Promise.all(images.map((image) => image.decode())); // else the page flickers
  $("pictures").replaceChildren(...figures);
  $("result").classList.toggle("single", !several);
  const spread = answer.faces.some((face) => face.poses.some((pose) => pose.spread));
  const heads = ["face", ...(several ? ["network"] : []), "seen", ...ANGLES.flatMap((angle) => (spread ? [angle, "±"] : [angle])), "state"];
  const cells = heads.map((head) => make("th", head, { scope: "col", className: ["face", "network", "seen", "state"].includes(head) ? "left" : "" }));
  document.querySelector("thead").replaceChildren(make("tr", cells));
  document.querySelector("tbody").replaceChildren(...answer.faces.flatMap((face, index) => rows(face, index, truth, spread)));
  $("time").textContent = `${answer.milliseconds.toFixed(0)} ms to find the faces and estimate their poses`;
  $("result").hidden = false;
}

function rows(face, index, truth, spread) {
  const several = setup.networks.length > 1;
  const known = truth.find(({ box }) => Math.abs(box[0] + box[2] - face.box[0] - face.box[2]) < box[2] - box[0]);
  const all = face.poses.map((pose, which) => ({ ...pose, label: setup.networks[which].name }));
  if (known) all.push({ ...Object.fromEntries(ANGLES.map((angle, at) => [angle, known.pose[at]])), label: "truth" });
  return all.map((pose, row) => {
    const name = several ? [make("td", pose.label, { className: "left network" })] : [];
    const first = row === 0 ? `${index + 1}` : several || pose.crop ? "" : pose.label;
    const seen = make("td", pose.crop ? make("img", [], { src: pose.crop, alt: "what the network sees" }) : []);
    const numbers = ANGLES.flatMap((angle, at) => [
      make("td", degrees(pose[angle]), { className: angle }),
      ...(spread ? [make("td", pose.spread ? pose.spread[at].toFixed(1) : "", { className: "spread" })] : []),
    ]);
    const className = `${pose.crop ? "pose" : "truth"} ${row === 0 ? "first" : ""}`;
    return make("tr", [make("td", first, { className: "left" }), ...name, seen, ...numbers, make("td", pose.state ?? "", { className: "left state" })], { className });
  });
}

async function startCamera() {
  if (!navigator.mediaDevices) return refuse("camera: browsers give it to a page of this computer's own only, or by https");
  const video = make("video", [], { muted: true, playsInline: true });
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 } } });
    video.srcObject = stream;
    await video.play();
  } catch (error) {
    return refuse(`camera: ${error.message}`);
  }
  $("camera").ariaPressed = "true";
  $("camera").textContent = "Stop the camera";
  live = { live: crypto.randomUUID() };
  $("calibrate").disabled = false;
  const canvas = make("canvas", [], { width: video.videoWidth, height: video.videoHeight });
  const mine = stream; // it may be stopped and started again meanwhile
  while (stream === mine) {
    canvas.getContext("2d").drawImage(video, 0, 0);
    const frame = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.9));
    if (stream === mine) await estimate(frame, "camera", []);
  }
}

function stopCamera() {
  if (stream) stream.getTracks().forEach((track) => track.stop());
  stream = null;
  $("calibrate").disabled = true;
  $("camera").ariaPressed = "false";
  $("camera").textContent = "Camera";
}

function open(file, name, truth = []) {
  stopCamera();
  return estimate(file, name, truth);
}

async function openExample(number) {
  const picture = await (await fetch(`examples/${number}`)).blob();
  await open(picture, `example ${number + 1}`, setup.examples[number]);
}

async function start() {
  setup = await (await fetch("setup")).json();
  const options = setup.detectors.map((value) => make("option", value === "none" ? "none (it is a face)" : value, { value }));
  $("detector").append(...options);
  $("draw").append(...setup.drawn.map((name) => make("option", name)));
  $("examples").append(...setup.examples.map((_, number) => make("button",
    make("img", [], { src: `examples/${number}`, alt: `example ${number + 1}` }), { onclick: () => openExample(number) })));
  $("file").onchange = ({ target }) => {
    if (target.files.length) open(target.files[0], target.files[0].name);
    target.value = ""; // so that the same file can be opened again
  };
  $("calibrate").onclick = () => { live = { live: crypto.randomUUID(), calibrate: 3 }; };
  $("camera").onclick = () => (stream ? stopCamera() : startCamera());
  for (const id of OPTIONS) $(id).onchange = () => shown && !stream && estimate(...shown);
  document.ondragover = (event) => { event.preventDefault(); document.body.classList.add("over"); };
  document.ondragleave = () => document.body.classList.remove("over");
  document.ondrop = (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    const [file] = event.dataTransfer.files;
    if (file) open(file, file.name);
  };
  await openExample(0);
}

start();
