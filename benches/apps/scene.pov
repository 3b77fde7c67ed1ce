// Glass, mirrors, shadows and textures.
#version 3.7;
global_settings { assumed_gamma 1.0 max_trace_level 8 }
camera { location <0, 3, -9> look_at <0, 1, 0> }
light_source { <6, 9, -8> color rgb 1 area_light <1, 0, 0>, <0, 0, 1>, 3, 3 adaptive 1 }
light_source { <-8, 5, -3> color rgb <0.4, 0.4, 0.6> }
plane { y, 0 pigment { checker color rgb 0.9 color rgb <0.2, 0.3, 0.5> } finish { reflection 0.2 } }
sky_sphere { pigment { gradient y color_map { [0 color rgb 1] [1 color rgb <0.2, 0.4, 0.9>] } } }
#declare i = 0;
#while (i < 7)
  sphere {
    <4 * cos(i * 0.9), 0.8 + 0.1 * i, 3 * sin(i * 0.9)>, 0.7
    #if (mod(i, 3) = 0)
      pigment { color rgbt <0.9, 1, 0.9, 0.8> } interior { ior 1.5 } finish { specular 0.9 reflection 0.1 }
    #else
      pigment { bozo turbulence 0.6 color_map { [0 color rgb <0.9, 0.3, 0.2>] [1 color rgb <0.9, 0.9, 0.3>] } scale 0.4 }
      normal { bumps 0.3 scale 0.1 } finish { phong 0.8 reflection 0.3 }
    #end
  }
  #declare i = i + 1;
#end
torus { 1.4, 0.35 rotate x * 60 translate <0, 2, 1> pigment { marble turbulence 1 } finish { specular 0.6 } }
blob { threshold 0.6
  sphere { <-1, 0.7, -2>, 1.1, 1 } sphere { <-0.2, 0.9, -2.2>, 1, 1 } sphere { <0.4, 0.6, -1.8>, 0.9, 1 }
  pigment { color rgb <0.6, 0.2, 0.6> } finish { phong 1 }
}
