"""Random heads: every choice that varies, drawn from (seed, index), put together and rendered."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from headposekit.geometry.conventions import ANGLE_LIMIT
from headposekit.geometry.rotations import matrix_to_pose, pose_to_matrix, upright_pose
from headposekit.synthesis import appearance, head, photograph, renderer
from headposekit.synthesis.appearance import Style
from headposekit.synthesis.renderer import Light, Mesh, Sheet

Array = NDArray[Any]
Rng = np.random.Generator

GENERATOR_VERSION = 3
"""Raised whenever the same options and seed give other pictures; packs of another version are rebuilt."""

PIVOT = np.array([0.0, 0.0, -1.6])
"""Around which heads turn, and at which the camera looks."""
PARALLEL_DISTANCE = 60.0
"""Head units from a parallel camera to the pivot, where distances are counted from; they change nothing else."""
MILLIMETRES = 36.0
"""Of a head unit."""
CANVAS = {False: 2.5, True: 1.75}
"""Side of a picture in longer sides of the face's box, and in those of the head's: heads are of about the same size."""
MAX_TWIST = 60.0
"""Degrees that a head turns away from its shoulders, in the full range."""


COMPANY_SEED = 2_000_003  # added to the seed for the people who stand beside others
NUM_COMPANIONS = 150
"""Different people that stand beside others."""


@dataclass
class Head:
    """One rendered head, in pixels of its picture."""

    image: NDArray[np.uint8]  # (S, S, 3), RGB
    pose: Array  # (3,), yaw, pitch, roll in degrees, relative to the viewing ray
    box: Array  # (4,), tight box, jittered as the options say
    landmarks: Array  # (68, 3), the third is depth toward the viewer in the same units
    points21: Array  # (21, 2), AFLW's points; NaN where turned away
    depth: Array  # (S, S), head units from the camera to head and body, not to what occludes them; inf in the background
    identity: int  # number of the person
    neutral: Array  # (68, 3), the landmarks at rest, head units, frame A
    pose_para: Array | None  # (7,), 300W-LP's label, see `project_pose_para`; None where the camera is near


class HeadSampler:
    """Heads as a function of (seed, index); each option is one ingredient and can be switched off to measure its effect.

    What they mean stands in conf/heads/. No dataclass: Hydra takes an instance of one, given as an argument, for a
    configuration.
    """

    neutral: ClassVar[dict[str, Any]] = {
        "full_range": False,
        **{"wild_hair": 0.0, "strands": 0.0, "short_neck": 0.0, "hand": 0.0, "hard_light": 0.0, "small_pictures": 0.0},
        **{"child": 0.0, "scarf": 0.0, "company": 0.0, "shaded_eyes": 0.0, "free_body": 0.0, "high_collar": 0.0},
    }
    """Options that came later: without them, heads and their packs are what they were before there were any."""

    def __init__(
        self,
        seed: int = 0,
        poses_per_identity: int = 2,
        identity: float = 1.3,
        expression: float = 1.0,
        wide_pitch: float = 0.3,
        skin_texture: bool = True,
        hair: bool = True,
        beard: float = 0.25,
        glasses: float = 0.22,
        hat: float = 0.15,
        body: bool = True,
        occluder: float = 0.1,
        light_variation: bool = True,
        shadows: float = 0.4,
        backgrounds: bool = True,
        borders: float = 0.3,
        photo: float = 0.5,
        box_jitter: float = 0.04,
        visible21: float = 0.5,
        perspective: tuple[float, float] | None = (20.0, 120.0),
        texture_pool: int = 400,
        full_range: bool = False,
        wild_hair: float = 0.0,
        strands: float = 0.0,
        short_neck: float = 0.0,
        hand: float = 0.0,
        hard_light: float = 0.0,
        small_pictures: float = 0.0,
        child: float = 0.0,
        scarf: float = 0.0,
        company: float = 0.0,
        shaded_eyes: float = 0.0,
        free_body: float = 0.0,
        high_collar: float = 0.0,
    ) -> None:
        options = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        self.options = {key: value for key, value in options.items() if (key, value) not in self.neutral.items()}
        self.seed, self.poses_per_identity = seed, poses_per_identity
        self.identity, self.expression, self.wide_pitch = identity, expression, wide_pitch
        self.skin_texture, self.hair, self.beard, self.glasses, self.hat = skin_texture, hair, beard, glasses, hat
        self.body, self.occluder = body, occluder
        self.light_variation, self.shadows, self.photo = light_variation, shadows, photo
        self.backgrounds, self.borders = backgrounds, borders
        self.box_jitter, self.visible21, self.perspective = box_jitter, visible21, perspective
        self.texture_pool, self.full_range = texture_pool, full_range
        self.wild_hair, self.strands, self.short_neck = wild_hair, strands, short_neck
        self.hand, self.hard_light, self.small_pictures = hand, hard_light, small_pictures
        self.child, self.scarf, self.company = child, scarf, company
        self.shaded_eyes, self.free_body, self.high_collar = shaded_eyes, free_body, high_collar
        self._atlas = lru_cache(maxsize=texture_pool)(self._paint)
        self._background = lru_cache(maxsize=texture_pool)(self._paint_background)
        self._companion = lru_cache(maxsize=NUM_COMPANIONS)(self._render_companion)

    def render(
        self,
        index: int,
        size: int,
        pose: Sequence[float] | None = None,
        supersample: float = 2.0,
        canvas: float | None = None,
    ) -> Head:
        """Head number `index`, always the same.

        Args:
            index: `index // poses_per_identity` is the number of the person.
            size: side of the picture in pixels.
            pose: yaw, pitch, roll in degrees instead of drawn ones.
            supersample: how much larger it is rendered before averaging down.
            canvas: side of the picture in longer sides of the box; None for `CANVAS`.
        """
        identity = index // self.poses_per_identity
        person = np.random.default_rng([self.seed, 1, identity])
        rng = np.random.default_rng([self.seed, 2, index])
        # Later ingredients draw from generators of their own: without them, heads are as they were.
        late_person, late = (np.random.default_rng([self.seed, 5 + k, n]) for k, n in enumerate((identity, index)))
        drawn = self._draw_pose(rng)
        pose_degrees = np.array(pose, dtype=float) if pose is not None else drawn
        style, atlas = self._atlas(int(person.integers(self.texture_pool)))
        surface, landmarks = self._shape(person, late_person, rng)
        mesh = Mesh(self._build(person, late_person, surface, landmarks, style))

        rotation = pose_to_matrix(torch.tensor(pose_degrees)).numpy()
        vertices = _turn_mesh(mesh, rotation, self._draw_body(rng, late, rotation))
        points, ears = (landmarks - PIVOT) @ rotation.T, (head.EARS - PIVOT) @ rotation.T
        distance = None if self.perspective is None else float(np.exp(rng.uniform(*np.log(self.perspective))))

        plane68 = _project(points, distance)
        plane21 = head.points21(plane68, _project(ears, distance), pose_degrees[0])
        if self.full_range:  # around all that turns with the head: skull, hair, ears, hat
            outline = _project(vertices[~mesh.follows_body], distance)
        else:
            visible = plane21[~np.isnan(plane21[:, 0])]
            outline = visible if rng.random() < self.visible21 else plane68
        x0, y0, x1, y1 = box = self._draw_box(rng, outline)
        side = (CANVAS[self.full_range] if canvas is None else canvas) * max(x1 - x0, y1 - y0)
        corner = np.array([(x0 + x1 - side) / 2, (y0 + y1 + side) / 2])  # y up
        scale = size / side

        def to_pixels(plane: Array) -> Array:
            return (plane - corner) * [scale, -scale]

        work = round(size * supersample)
        brightness = renderer.shade(mesh, vertices, self._draw_light(rng, late))
        factor = work / size
        screen = to_pixels(_project(vertices, distance)) * factor
        depth = (PARALLEL_DISTANCE if distance is None else distance) - vertices[..., 2]
        frayed = self.strands * late.uniform(0.2, 1) * work / 55
        colors, mask, zbuffer = renderer.rasterize(mesh, brightness, screen, depth, atlas, work, frayed, late)
        colors = photograph.expose(colors, mask, rng if self.light_variation else None)
        backdrop = self._backdrop(rng, work)
        work_box = np.concatenate([to_pixels(box[[0, 3]]), to_pixels(box[[2, 1]])]) * factor
        beside = late.random() < self.company
        in_front = beside and late.random() < 0.3
        if beside and not in_front:
            self._add_companion(backdrop, late, work_box, nearest=0.7)
        backdrop = cv2.copyTo(colors, mask, backdrop)
        if in_front:
            self._add_companion(backdrop, late, work_box, nearest=1.4)
        if rng.random() < self.occluder:
            skin = np.array(cv2.mean(colors, mask)[:3])
            photograph.occlude(backdrop, rng, to_pixels(plane68) * factor, skin)
        if late.random() < self.hand:
            skin = np.array(style.skin) * np.mean(cv2.mean(colors, mask)[:3]) / np.mean(style.skin)
            photograph.hand(backdrop, late, to_pixels(plane68) * factor, 1.2 * skin)
        picture = np.asarray(cv2.resize(backdrop, (size, size), interpolation=cv2.INTER_AREA), dtype=np.float32)
        if late.random() < self.small_pictures:
            picture = photograph.shrink(picture, late)
        pixel_box = np.concatenate([to_pixels(box[[0, 3]]), to_pixels(box[[2, 1]])])
        if rng.random() < self.borders:
            photograph.black_borders(picture, rng, pixel_box)
        image = photograph.develop(picture, rng, self.photo)
        # Not by comparing with FAR: the rasteriser leaves the background a rounding error before it.
        zbuffer = cv2.resize(np.where(mask, zbuffer, np.float32(np.inf)), (size, size), interpolation=cv2.INTER_NEAREST)
        toward = points[:, 2:] * scale * (1 if distance is None else 1 / distance)
        return Head(
            image=image,
            pose=pose_degrees,
            box=pixel_box,
            landmarks=np.concatenate([to_pixels(plane68), toward], axis=1),
            points21=to_pixels(plane21),
            depth=np.asarray(zbuffer, np.float32),
            identity=identity,
            neutral=landmarks,
            pose_para=_pose_para(pose_degrees, rotation, scale, corner, size) if distance is None else None,
        )

    def attributes(self, index: int) -> dict[str, str]:
        """What head number `index` looks like beside its pose, in words; nothing is rendered."""
        person = np.random.default_rng([self.seed, 1, index // self.poses_per_identity])
        rng = np.random.default_rng([self.seed, 3, int(person.integers(self.texture_pool))])
        style = appearance.draw_style(rng, self.beard, self.skin_texture)
        worn: set[tuple[str, bool]] = set()
        late = np.random.default_rng([self.seed, 5, index // self.poses_per_identity])
        self._build(person, late, *self._shape(person, late, rng), style, worn)
        materials, tone = {material for material, _ in worn}, float(np.mean(style.skin))
        return {
            "glasses": "dark" if "lens" in materials else "clear" if "frame" in materials else "none",
            "beard": "beard" if style.beard else "moustache" if style.moustache else "none",
            "hat": "yes" if "hat" in materials else "no",
            "hair": "long" if ("hair", True) in worn else "short" if "hair" in materials else "none",
            "skin": "light" if tone > 0.65 else "medium" if tone > 0.42 else "dark",
            "wrinkles": "few" if style.wrinkles < 0.1 else "some" if style.wrinkles < 0.4 else "many",
        }

    def _add_companion(self, image: Array, rng: Rng, box: Array, nearest: float) -> None:
        """Somebody beside the face in `box`, in place; at least `nearest` of its sides away."""
        picture, covers, own = self._companion(int(rng.integers(NUM_COMPANIONS)))
        side, own_side = max(box[2:] - box[:2]), max(own[2:] - own[:2])
        away = side * np.array([rng.choice([-1, 1]) * rng.uniform(nearest, nearest + 0.9), rng.normal(0, 0.35)])
        scale = rng.uniform(0.6, 1.4) * side / own_side
        shift = (box[:2] + box[2:]) / 2 + away - scale * (own[:2] + own[2:]) / 2
        matrix, size = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), image.shape[1::-1]
        picture, covers = (cv2.warpAffine(layer, matrix, size) for layer in (picture, covers))
        np.copyto(image, picture * np.float32(rng.uniform(0.5, 1.2)), where=(covers > 0)[..., None])

    def _render_companion(self, number: int) -> tuple[Array, Array, Array]:
        """Picture (S, S, 3), what of it is covered (S, S), and the box of a face."""
        alone = {"company": 0.0, "occluder": 0.0, "borders": 0.0, "photo": 0.0, "hand": 0.0, "backgrounds": False}
        others = HeadSampler(**{**self.options, **alone, "seed": self.seed + COMPANY_SEED, "texture_pool": NUM_COMPANIONS})
        found = others.render(number, 128)
        return found.image.astype(np.float32) / 255, np.isfinite(found.depth).astype(np.uint8), found.box

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return partial(type(self), **self.options), ()  # without the textures that it has painted

    # ------------------------------------------------------------------------------------------------------ what is drawn

    def _draw_pose(self, rng: Rng) -> Array:
        """How real heads stand: turn, tilt and lean are independent, which yaw, pitch and roll then are not.

        Beyond 45 degrees of yaw, pitch and roll grow together, as in the labels of AFLW2000 (correlation .94 beyond 60
        degrees). Poses beyond ±99 degrees are drawn again, as the papers drop them. In the full range heads turn all the way
        round, evenly.
        """
        while True:
            turn = (
                rng.uniform(-180, 180) if self.full_range else rng.uniform(-90, 90) if rng.random() < 0.5 else rng.normal(0, 30)
            )
            tilt = rng.uniform(-48, 48) if rng.random() < self.wide_pitch else rng.normal(-3, 17)
            lean = rng.uniform(-50, 50) if rng.random() < 0.1 else rng.normal(0, 12)
            pose: Array = matrix_to_pose(torch.tensor(_posture(turn, tilt, lean))).numpy()
            if self.full_range:
                pose = upright_pose(torch.tensor(pose)).numpy()
                return pose
            if np.abs(pose).max() <= ANGLE_LIMIT:
                return pose

    def _draw_body(self, rng: Rng, late: Rng, rotation: Array) -> Array:
        """Rotation of the shoulders: they follow the head's turn, tilt and lean in part, wholly, or not at all."""
        # The inverse of `_posture`.
        tilt = -np.degrees(np.arcsin(np.clip(rotation[2, 1], -1, 1)))
        turn, lean = np.degrees(np.arctan2(rotation[[2, 0], [0, 1]], rotation[[2, 1], [2, 1]]))
        if rng.random() < 0.25:
            followed = turn, np.clip(tilt, -15, 15), lean
        else:
            tilted = np.clip(rng.uniform(0, 0.5) * tilt, -15, 15)  # no chest swings into the camera
            share = rng.uniform(0.2, 1)
            if self.full_range:
                share = max(share, 1 - MAX_TWIST / max(abs(turn), MAX_TWIST))
            followed = share * turn + rng.normal(0, 8), tilted, rng.uniform(0, 0.6) * lean
        if late.random() < self.free_body:
            followed = late.normal(0, 35), late.uniform(-15, 15), late.normal(0, 12)
        return _posture(*followed)

    def _draw_light(self, rng: Rng, late: Rng) -> Light:
        if not self.light_variation:
            return Light(0.5, 0.6, np.array([0.0, 0.3, 0.954]), 0.0, np.array([0.0, 1.0, 0.0]), 0.1, 0.0)
        ambient = rng.uniform(0.2, 0.65)
        azimuth, height = rng.uniform(-1.5, 1.5), rng.uniform(-0.15, 1.2)
        second = rng.normal(size=3)
        light = Light(
            ambient=ambient,
            direct=rng.uniform(0.5, 1.5) * (1.15 - ambient),
            direction=np.array([np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)]),
            second=rng.uniform(0, 0.25),
            second_direction=second / np.linalg.norm(second),
            sky=rng.uniform(0, 0.15),
            shadow=rng.uniform(0.5, 1.0) if rng.random() < self.shadows else 0.0,
        )
        if late.random() < self.hard_light:  # one lamp, or the sun, and little else
            azimuth, height = late.uniform(-1.9, 1.9), late.uniform(-0.2, 1.1)
            toward = np.array([np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)])
            shadow = late.uniform(0.7, 1.0) if self.shadows else 0.0
            ambient, direct = late.uniform(0.03, 0.2), late.uniform(0.8, 1.6)
            light = replace(light, ambient=ambient, direct=direct, direction=toward, shadow=shadow)
        return light

    def _draw_box(self, rng: Rng, points: Array) -> Array:
        """x0, y0, x1, y1 around points on the camera plane, y up (y0 the lower side)."""
        low, high = points.min(axis=0), points.max(axis=0)
        jitter = rng.normal(0, self.box_jitter, 4) * np.tile(high - low, 2)
        return np.concatenate([low, high]) + jitter

    def _shape(self, person: Rng, late: Rng, rng: Rng) -> tuple[Array, Array]:
        """Surface and landmarks of a person with an expression."""
        youth = late.uniform(0.2, 1) if late.random() < self.child else 0.0
        model = head.head_model()
        code = person.normal(size=len(head.face_modes_68())).clip(-2, 2) * self.identity
        movement = np.einsum("k,kpc->pc", code, head.face_modes_68())
        mean = model.landmarks(model.mean.reshape(head.ROWS, head.COLUMNS, 3))
        lips = rng.uniform(-1.0, 0.6) if rng.random() < 0.75 else rng.uniform(0.6, 2.6)
        opening = self.expression * lips * np.array([[0.8], [1.0], [0.8]]) * (mean[[61, 62, 63]] - mean[[67, 66, 65]])
        movement[[61, 62, 63]] += 0.2 * opening
        movement[[67, 66, 65]] -= 0.8 * opening
        if lips > 0.6:  # an open mouth takes lower lip, chin and jaw along
            drop = 0.8 * opening[1]
            movement[[55, 56, 57, 58, 59]] -= drop * np.array([[0.55], [0.9], [1.0], [0.9], [0.55]])
            movement[5:12] -= 0.7 * drop
        # Lips may touch, not cross, and are never thinner than two millimetres.
        height = (mean + movement)[:, 1]
        crossed = np.minimum(height[[61, 62, 63]] - height[[67, 66, 65]] - 0.01, 0)
        movement[[61, 62, 63], 1] -= 0.5 * crossed
        movement[[67, 66, 65], 1] += 0.5 * crossed
        height = (mean + movement)[:, 1]
        movement[[50, 51, 52], 1] += np.maximum(0.06 - (height[[50, 51, 52]] - height[[61, 62, 63]]), 0)
        movement[[58, 57, 56], 1] -= np.maximum(0.06 - (height[[67, 66, 65]] - height[[58, 57, 56]]), 0)
        corners = self.expression * rng.normal(0, 0.07)
        movement[[48, 54, 60, 64], 1] += corners
        movement[17:27, 1] += self.expression * rng.normal(0, 0.06)
        if youth:
            movement += head.childlike(mean + movement, youth) - (mean + movement)
        surface = model.deform(movement)
        if youth:
            surface = head.grow_skull(surface, 1 + 0.12 * youth)
        stretch = 1 + (self.identity > 0) * person.normal(0, 0.03, 3)
        surface = head.CENTER + (surface - head.CENTER) * stretch
        return surface, model.landmarks(surface)

    # ------------------------------------------------------------------------------------------------------- what is built

    def _build(
        self,
        person: Rng,
        late: Rng,
        surface: Array,
        landmarks: Array,
        style: Style,
        worn: set[tuple[str, bool]] | None = None,
    ) -> list[Sheet]:
        """All sheets of a head at rest; enters into `worn` their materials, and whether each follows the body."""
        rows, columns = surface.shape[:2]
        sheets = [Sheet(surface, renderer.head_uv(rows, columns), outward=True)]

        def add(vertices: Array, material: str, repeat: tuple[float, float], **options: Any) -> None:
            rows, columns = vertices.shape[:2]
            if worn is not None:
                worn.add((material, options.get("follows_body", False)))
            sheets.append(Sheet(vertices, appearance.sheet_uv(material, rows, columns, repeat), **options))

        if self.body:
            self._add_body(person, late, surface, sheets, add)
        if self.hair:
            covered = late.random() < self.scarf
            self._add_hair(person, late, surface, _leave_out if covered else add)
            if covered:
                self._add_scarf(late, surface, add)
        if person.random() < self.glasses:
            width, height, power = person.uniform(0.5, 0.68), person.uniform(0.32, 0.52), person.uniform(2, 5)
            frames, lenses = head.make_glasses(landmarks, width, height, power, person.uniform(0.02, 0.055))
            for frame in frames:
                add(frame, "frame", (1, 1))
            for lens in lenses if style.dark_lenses else ():
                add(lens, "lens", (1, 1))
        return sheets

    def _add_body(self, person: Rng, late: Rng, surface: Array, sheets: list[Sheet], add: Any) -> None:
        """Ears, neck, torso and what covers it."""
        lift = late.uniform(0, self.short_neck)
        flare, tilt, size = person.uniform(15, 38), person.uniform(8, 20), person.uniform(0.85, 1.12)
        for side in (-1.0, 1.0):
            ear = head.make_ear(surface, side, flare, tilt, size)
            angle = np.linspace(0, 2 * np.pi, ear.shape[1])[None]
            ring = np.linspace(0, 1, ear.shape[0])[:, None]
            uv = appearance.material_uv("ear", 0.5 + 0.49 * ring * np.cos(angle), 0.5 - 0.49 * ring * np.sin(angle))
            sheets.append(Sheet(ear, uv))
        neck, shoulders, depth = person.uniform(1.3, 1.75), person.uniform(4.2, 6.5), person.uniform(-2.6, -2.3)
        body = head.make_body(neck, shoulders, depth, lift)
        in_front = head.smoothstep((body[..., 2] - depth + 0.6) / 1.2)
        under_chin = 1 - person.uniform(0.1, 0.45) * head.smoothstep((body[..., 1] + 3.3) / 1.6) * in_front
        add(body, "skin", (5, 4), outward=True, follows_body=True, darken=under_chin)
        collar, dip, point = person.uniform(-4.0, -2.6), person.uniform(0.1, 1.6), person.uniform(0.8, 4)
        if late.random() < self.high_collar:  # up to the chin, or a scarf
            collar, dip = late.uniform(-2.6, -1.7), late.uniform(-0.2, 0.5)
            lift, neck = min(lift, -1.7 - collar), neck * late.uniform(1, 1.4)
        garment = head.make_garment(neck, shoulders, depth, collar + lift, dip, point, lift)
        add(garment, "cloth", (5, 4), outward=True, follows_body=True)

    def _add_hair(self, person: Rng, late: Rng, surface: Array, add: Any) -> None:
        rows, columns = surface.shape[:2]
        wild = late.random() < self.wild_hair
        bald, hat = person.random() < 0.08, person.random() < self.hat
        if not bald:
            long = person.random() < 0.4
            hairline = head.hairline_of(person.normal(0, 5) - (person.uniform(0, 20) if long else 0), person.normal(0, 6) + 4)
            if person.random() < 0.3:  # a fringe
                hairline -= person.uniform(8, 26) * head.smoothstep((48 - np.abs(head.LONGITUDES)) / 20)
            if not long and person.random() < 0.7:  # cut free of the ears
                hairline += person.uniform(10, 22) * np.exp(-(((np.abs(head.LONGITUDES) - 100) / 16) ** 2))
            hairline += 2.0 * np.interp(np.arange(columns), np.linspace(0, columns - 1, 24), person.normal(size=24))
            if person.random() < 0.97:  # few let their hair fall over brows and eyes
                hairline = np.maximum(hairline, np.interp(np.abs(head.LONGITUDES), [42, 62, 63], [34, 0, -90]))
            top = person.uniform(0.08, 0.6) * (0.5 if hat else 1)
            if self.wild_hair and late.random() < 0.5:  # a high forehead
                hairline = hairline + late.uniform(0, 16) * head.smoothstep((70 - np.abs(head.LONGITUDES)) / 40)
            rough = appearance.noise(person, rows, columns, 5) * head.smoothstep((88 - head.LATITUDES[:, None]) / 20)
            sideways = np.sin(np.radians(head.LONGITUDES)) * np.cos(np.radians(head.LATITUDES[:, None]))
            thickness = np.clip(top * (1 + 0.18 * rough + person.normal(0, 0.25) * sideways), 0.04, None)
            if wild and not hat:  # full hair, curls
                curls = 1 + late.uniform(0, 0.35) * appearance.noise(late, rows, columns, 3)
                thickness = np.clip(thickness * late.uniform(0.8, 2.5) * curls, 0.04, 1.6)
            if self.full_range:
                hairline, thickness = head.close_seam(hairline), head.close_seam(thickness)
            add(head.hair_shell(surface, hairline, thickness), "hair", (9, 2.2), outward=True)
            if long:
                top = 1.0 if hat and self.full_range else 2.6  # from behind it would be seen through the hat
                curtain = head.make_curtain(person.uniform(-5, -0.8), person.uniform(0.1, 0.7), person.uniform(0, 6), top)
                add(curtain, "hair", (7, 1.5), follows_body=True)
            elif person.random() < 0.12:  # a bun
                center = np.array([0, person.uniform(1.5, 4.2), 0.0])
                center[2] = -4.9 + 0.55 * max(0, center[1] - 2.5)
                lon, lat = np.meshgrid(np.linspace(-180, 180, 13), np.linspace(89, -89, 9))
                add(center + person.uniform(0.5, 0.9) * head.direction(lon, lat), "hair", (3, 1), outward=True)
            if wild and (long or late.random() < 0.3):
                for side in (-1, 1):
                    for _ in range(int(late.integers(0, 4))):
                        # Most frame the face, a few fall over it.
                        cheek = late.uniform(48, 85) if late.random() < 0.97 else late.uniform(15, 48)
                        length = late.uniform(-5, -1.5) if long else late.uniform(-1.5, 1.5)
                        shape = (late.uniform(6, 24), late.uniform(0.1, 0.5), late.uniform(0, 6))
                        lock = head.make_lock(surface, side * late.uniform(2, 40), side * cheek, length, *shape)
                        add(lock, "hair", (2, 1.5), follows_body=True)
        if hat:
            edge = person.uniform(28, 45)
            hairline = np.full(columns, edge) - 22 * head.smoothstep((np.abs(head.LONGITUDES) - 60) / 60)
            crown = head.smoothstep((head.LATITUDES[:, None] - 30) / 60) * person.uniform(0, 0.6)
            shell = head.hair_shell(surface, hairline, np.full((rows, columns), person.uniform(0.3, 0.6)) + crown)
            add(shell, "hat", (5, 3), outward=True)
            if person.random() < 0.6:
                add(head.make_brim(shell, person.uniform(0.7, 1.5), person.uniform(0, 0.5)), "hat", (3, 1))

    def _add_scarf(self, rng: Rng, surface: Array, add: Any) -> None:
        """A headscarf or hood, over forehead, ears and neck."""
        rows, columns = surface.shape[:2]
        edge = rng.uniform(32, 50)
        outline = edge - (edge + 48) * head.smoothstep((np.abs(head.LONGITUDES) - rng.uniform(38, 55)) / 30)
        thickness = rng.uniform(0.1, 0.35) * (1 + 0.2 * appearance.noise(rng, rows, columns, 5))
        add(head.hair_shell(surface, outline, np.clip(thickness, 0.05, None)), "hat", (5, 3), outward=True)
        drape = head.make_curtain(rng.uniform(-4, -2.2), rng.uniform(0.05, 0.4), rng.uniform(0, 6))
        add(drape, "hat", (7, 1.5), follows_body=True)

    def _paint(self, number: int) -> tuple[Style, Array]:
        rng = np.random.default_rng([self.seed, 3, number])
        style = appearance.draw_style(rng, self.beard, self.skin_texture)
        late = np.random.default_rng([self.seed, 7, number])
        if late.random() < self.shaded_eyes:
            style = appearance.with_shaded_eyes(style, late)
        return style, appearance.paint_atlas(style, rng)

    def _paint_background(self, number: int) -> Array:
        return appearance.draw_background(np.random.default_rng([self.seed, 4, number]), 128)

    def _backdrop(self, rng: Rng, size: int) -> Array:
        if not self.backgrounds:
            return np.full((size, size, 3), 0.5, np.float32)
        image = self._background(int(rng.integers(self.texture_pool)))
        side = int(rng.uniform(50, 128))
        x, y = (int(value) for value in rng.integers(0, 128 - side + 1, 2))
        cut = image[y : y + side, x : x + side]
        if rng.random() < 0.5:
            cut = cut[:, ::-1]
        cut = cv2.resize(np.ascontiguousarray(cut[..., rng.permutation(3)]), (size, size), interpolation=cv2.INTER_LINEAR)
        return np.multiply(cut, np.float32(rng.uniform(0.5, 1.2) / 255), dtype=np.float32)


def _leave_out(*_sheet: Any, **_options: Any) -> None:
    """In place of adding a sheet: hair below a scarf is drawn all the same, so that glasses stay what they were."""


def _posture(turn: float, tilt: float, lean: float) -> Array:
    """Rotation matrix of a head turned about its own axis, then tilted, then leaning in the picture; degrees."""
    steps = torch.tensor([[0, 0, lean], [0, tilt, 0], [turn, 0, 0]], dtype=torch.float64)
    matrix: Array = torch.linalg.multi_dot(list(pose_to_matrix(steps))).numpy()
    return matrix


def _turn_mesh(mesh: Mesh, rotation: Array, body: Array) -> Array:
    """Vertices (V, 3) of a mesh whose head is turned, and whose neck and shoulders turn with the body below."""
    offset = mesh.vertices - PIVOT.astype(np.float32)
    turned: Array = offset @ rotation.T.astype(np.float32)
    low = np.flatnonzero(mesh.follows_body & (mesh.vertices[:, 1] < -1.5))
    weight = head.smoothstep((-1.5 - mesh.vertices[low, 1:2]) / 1.5)
    turned[low] += weight * (offset[low] @ body.T.astype(np.float32) - turned[low])
    return turned


def _project(points: Array, distance: float | None) -> Array:
    """x and y on the camera plane, y up; perspective at `distance`, or parallel."""
    return points[..., :2] if distance is None else points[..., :2] / (distance - points[..., 2:])


def _pose_para(pose: Array, rotation: Array, scale: float, corner: Array, size: int) -> Array:
    """300W-LP's label of a head under a parallel camera; pixels count from 1, and y starts at the lower edge."""
    yaw, pitch, roll = np.radians(pose)
    shift = scale * np.append(-corner, 0.0) + [0.5, size + 0.5, 0.0]
    return np.concatenate([[pitch, yaw, roll], shift - scale * rotation @ PIVOT, [scale]])
